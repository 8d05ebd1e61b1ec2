"""Waveforms and mel-spectrograms: files, levels, resampling, and the mel contract."""
