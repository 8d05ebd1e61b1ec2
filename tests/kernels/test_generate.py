"""The compiled loop of generation on other processors than this one."""

ENGINE_PROGRAM = """
import torch
from support.models import FRAMES, HOP, random_mel, random_model, forward_params, engine_params
from vocoder.engines import pick_engine
from vocoder.kernels.matmul import WIDTH
from vocoder.errors import UserError
from vocoder.model import LinearPredictionConfig

model = random_model(prediction=LinearPredictionConfig("mel", order=7), residual_channels=70, kernel_size=3)
waves = model.distribution.grid.round((0.5 * torch.randn(9, FRAMES * HOP)).clamp(-0.9, 0.9))
mel = random_mel(batch=9)
predicted = engine_params(pick_engine(model, "cpu"), waves, mel, None)
close = (predicted - forward_params(model, waves, mel, None)).abs().max() < 1e-4
try:
    pick_engine(model, "cpu", "bfloat16")
    refused = "accepted"
except UserError:
    refused = "refused"
print(WIDTH, "close" if close else "far", refused)
"""
