"""The mels of known systems, by name. docs/mels.md says which system reads and writes which."""

from dataclasses import replace

from vocoder.features.spec import MelSpec

_HIFIGAN = MelSpec(22050, 1024, 256, 1024, 80, 0.0, 8000.0)
_TACOTRON2 = replace(_HIFIGAN, padding="centre", magnitude_epsilon=0.0)
_BIGVGAN = MelSpec(24000, 1024, 256, 1024, 100, 0.0, 12000.0)
_VOCOS = replace(_BIGVGAN, padding="centre", magnitude_epsilon=0.0, mel_scale="htk", filter_norm="none", log_floor=1e-7)
_PWG = replace(_TACOTRON2, fmin=80.0, fmax=7600.0, log_base="10", log_floor=1e-10)
# 20 log10 x - 20 dB, of which -100 to 0 dB become -4 to 4: x from 1e-4 to 10
_DECIBELS = replace(_TACOTRON2, log_base="10", log_gain=1.6, log_offset=2.4, log_floor=1e-4, log_ceiling=10.0)

PRESETS: dict[str, MelSpec] = {
    "hifigan_22k": _HIFIGAN,  # jik876/hifi-gan
    "tacotron2_22k": _TACOTRON2,  # NVIDIA/tacotron2
    "vits_22k": replace(_HIFIGAN, fmax=11025.0, magnitude_epsilon=1e-6),  # jaywalnut310/vits
    "bigvgan_24k": _BIGVGAN,  # NVIDIA/BigVGAN
    # this project's, for 16 kHz speech: 50 ms windows every 12.5 ms, the whole band
    "speech_16k": MelSpec(16000, 1024, 200, 800, 80, 0.0, 8000.0),
    "bigvgan_44k_512x": MelSpec(44100, 2048, 512, 2048, 128, 0.0, 22050.0),
    "bigvgan_44k_256x": MelSpec(44100, 1024, 256, 1024, 128, 0.0, 22050.0),
    "nemo_fastpitch": replace(_TACOTRON2, window="symmetric", log_guard="add"),  # NVIDIA/NeMo
    "vocos_24k": _VOCOS,  # gemelo-ai/vocos
    "f5_vocos": replace(_VOCOS, log_floor=1e-5),  # SWivid/F5-TTS
    "pwg_16k": replace(_PWG, sample_rate=16000),  # kan-bayashi/ParallelWaveGAN, before its normalisation; also ESPnet
    "pwg_22k": _PWG,
    "pwg_24k": replace(_PWG, sample_rate=24000, n_fft=2048, hop_length=300, win_length=1200),
    "speecht5": replace(_PWG, sample_rate=16000),  # huggingface/transformers: equal to pwg_16k
    "r9y9": replace(_PWG, fmin=125.0, highpass=70.0),  # r9y9/wavenet_vocoder, before its normalisation
    "rayhane": replace(  # Rayhane-mamah/Tacotron-2
        _DECIBELS,
        n_fft=2048,
        hop_length=275,
        win_length=1100,
        fmin=55.0,
        fmax=7600.0,
        pad_mode="zero",
        power=2,
        preemphasis=0.97,
    ),
    "coqui_default": replace(_DECIBELS, fmax=11025.0),  # coqui-ai/TTS
    "speechbrain_16k": replace(_TACOTRON2, sample_rate=16000),  # speechbrain/tts-hifigan-libritts-16kHz
}


def preset_name(spec: MelSpec) -> str:
    """The name of the preset equal to `spec` (of two equal ones the first), or 'custom'."""
    return next((name for name, preset in PRESETS.items() if preset == spec), "custom")
