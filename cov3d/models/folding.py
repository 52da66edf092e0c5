"""Networks that only predict: batch norms folded into the convolutions before them."""

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """Fold each batch norm after a convolution in an `nn.Sequential` into its weights, in place.

    In evaluation mode both are one linear function, so the outputs change by rounding only. A network with folded
    batch norms can't be trained further.

    Args:
        model: in evaluation mode.
    """
    for module in list(model.modules()):
        if type(module).forward is not nn.Sequential.forward:
            continue
        for (name, layer), (after, norm) in pairwise(list(module.named_children())):
            if isinstance(layer, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d) and norm.track_running_stats:
                module.register_module(name, fuse_conv_bn_eval(layer, norm))
                module.register_module(after, nn.Identity())
    return model
