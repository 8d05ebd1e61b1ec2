"""What a corpus of recordings is worth and what ails it: every recording measured, the whole summed up and reported."""

from vocoder.doctor.advice import suggested_commands
from vocoder.doctor.diagnosis import Diagnosis, Finding, Limits, diagnose
from vocoder.doctor.examination import Examination, examine, unexamined
from vocoder.doctor.page import write_page
from vocoder.doctor.text import text_report

__all__ = [
    "Diagnosis",
    "Examination",
    "Finding",
    "Limits",
    "diagnose",
    "examine",
    "suggested_commands",
    "text_report",
    "unexamined",
    "write_page",
]
