"""Which kernels torch's own attention may take."""

from torch.nn.attention import SDPBackend, sdpa_kernel


def kernels_for_any_length():
    """
    A context in which attention takes no kernel that is planned anew for every length.

    On a GPU of Nvidia's torch prefers cuDNN's for attention under a mask: with lengths that change from call to call,
    as they do while a tree grows, planning takes far longer than attending.
    """
    return sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])
