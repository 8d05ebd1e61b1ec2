"""The report of an evaluation: one HTML page to read and to listen to, and pictures for papers."""

from vocoder.report.page import EMBED_LIMIT, write_report
from vocoder.report.pictures import figure_of, save_pictures
from vocoder.report.waves import mel_in_db

__all__ = ["EMBED_LIMIT", "figure_of", "mel_in_db", "save_pictures", "write_report"]
