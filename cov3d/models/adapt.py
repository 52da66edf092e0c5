"""Adapt a network for colour video to one grey channel."""

from torch import nn


def single_channel(conv: nn.Conv3d) -> nn.Conv3d:
    """A convolution of one channel. Its output equals that of `conv` on inputs with equal channels.

    The weights are summed over the input channels. Bias, stride, padding and the other arguments do not change.
    """
    adapted = nn.Conv3d(
        1,
        conv.out_channels,
        kernel_size=conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        bias=conv.bias is not None,
        padding_mode=conv.padding_mode,
    )
    adapted.weight.data.copy_(conv.weight.data.sum(dim=1, keepdim=True))
    if conv.bias is not None and adapted.bias is not None:
        adapted.bias.data.copy_(conv.bias.data)
    return adapted
