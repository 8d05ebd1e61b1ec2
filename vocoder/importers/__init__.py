"""Models of other systems, converted to this project's: checkpoints of r9y9's wavenet_vocoder."""

from vocoder.importers.r9y9 import Imported, import_r9y9

__all__ = ["Imported", "import_r9y9"]
