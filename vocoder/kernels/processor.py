"""What this processor multiplies, and whether this process may use it."""

import ctypes
import platform

from llvmlite import binding as llvm
from numba.core.registry import cpu_target

ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 158, 0x1023, 18  # <sys/syscall.h>, <asm/prctl.h>


def cpu_features() -> set[str]:
    """LLVM's names of the features of the processor that numba compiles for; NUMBA_CPU_FEATURES restricts them."""
    features = cpu_target.target_context.codegen()._tm_features.split(",")
    return {name[1:] for name in features if name.startswith("+")}


def may_use_tiles() -> bool:
    """Whether Linux lets this process use AMX tiles, which it must ask for once."""
    if platform.system() != "Linux":
        return False
    return ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0


def multiplies_bf16_faster(cpu: str, has_bf16: bool, has_amx: bool) -> bool:
    """Whether products in bfloat16 are faster than in float32 on a processor, by LLVM's name of it.

    Vectors of AMD's processors, since Zen 4, multiply pairs of bfloat16 at twice the speed of float32; those of Intel's
    are no faster with them (both measured, docs/performance.md). Matrix units are faster than either.
    """
    return has_amx or (has_bf16 and cpu.startswith("znver"))


HAS_BF16 = "avx512bf16" in cpu_features()  # dot products of pairs of bfloat16, in vectors
HAS_AMX = HAS_BF16 and {"amx-tile", "amx-bf16"} <= cpu_features() and may_use_tiles()  # matrix units
FAST_BF16 = multiplies_bf16_faster(llvm.get_host_cpu_name(), HAS_BF16, HAS_AMX)
