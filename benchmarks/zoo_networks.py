"""Well-known networks with random weights: small members of many families, from three libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_TORCHVISION = """
alexnet vgg11_bn resnet18 resnext50_32x4d wide_resnet50_2 densenet121 squeezenet1_1 inception_v3 googlenet
shufflenet_v2_x1_0 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet1_0 regnet_y_400mf regnet_x_400mf
efficientnet_b0 efficientnet_v2_s convnext_tiny vit_b_16 swin_t swin_v2_t maxvit_t
"""

_TIMM = """
resnet26d resnetv2_50 resnetv2_50x1_bit regnety_002 regnetz_b16 efficientnet_lite0 tf_efficientnetv2_b0 mixnet_s
mobilenetv3_small_050 mobilenetv4_hybrid_medium ghostnetv2_100 convnext_atto convnextv2_atto vit_tiny_patch16_224
eva02_tiny_patch14_224 deit_tiny_distilled_patch16_224 swin_tiny_patch4_window7_224 swinv2_cr_tiny_ns_224
cait_xxs24_224 mixer_s32_224 resmlp_12_224 gmlp_ti16_224 edgenext_xx_small mobilevit_xxs mobilevitv2_050 repvgg_a0
mobileone_s0 dla34 hrnet_w18_small res2net50_26w_4s densenet121 cspresnet50 ese_vovnet19b_dw dpn68 selecsls42b nfnet_l0
levit_128s poolformer_s12 pvt_v2_b0 twins_svt_small coat_lite_tiny crossvit_tiny_240 xcit_nano_12_p16_224
maxvit_rmlp_pico_rw_256 efficientformer_l1 fastvit_t8 tinynet_e hardcorenas_a inception_next_atto xception41 skresnet18
resnest14d eca_botnext26ts_256 halonet26t lambda_resnet26t visformer_tiny volo_d1_224 tnt_s_patch16_224
convmixer_768_32 focalnet_tiny_srf davit_tiny hiera_tiny_224 convit_tiny sequencer2d_s starnet_s1 repvit_m0_9
tiny_vit_5m_224 efficientvit_b0 efficientvit_m0 hgnetv2_b0 mambaout_femto
"""
TORCHVISION, TIMM = _TORCHVISION.split(), _TIMM.split()


class Logits(nn.Module):
    """A network of transformers as one that takes one tensor and gives one."""

    def __init__(self, network: nn.Module, takes: str) -> None:
        super().__init__()
        self.network, self.takes = network, takes

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits for token numbers [N, T] or pixels [N, 3, H, W]."""
        logits: Tensor = self.network(**{self.takes: inputs}).logits
        return logits


SMALL: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 128,
    "num_attention_heads": 4,
    "intermediate_size": 512,
}

TEXT: dict[str, dict[str, Any]] = {
    "Bert": SMALL,
    "DistilBert": {"n_layers": 2, "dim": 128, "n_heads": 4, "hidden_dim": 512},
    "Roberta": SMALL,
    "Electra": SMALL,
    "Albert": SMALL,
    "MPNet": SMALL,
    "GPT2": {"n_layer": 2, "n_embd": 128, "n_head": 4, "pad_token_id": 0},
    "Llama": {**SMALL, "num_key_value_heads": 2, "pad_token_id": 0},
}
"""Family -> numbers of a small configuration, for classifiers of sequences."""

PIXELS: dict[str, dict[str, Any]] = {
    "ViT": SMALL,
    "DeiT": SMALL,
    "Dinov2": {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 4, "patch_size": 16},
    "ConvNext": {"depths": [1, 1, 2, 1], "hidden_sizes": [32, 64, 96, 128]},
    "Swin": {"depths": [1, 2], "num_heads": [2, 4], "embed_dim": 32, "window_size": 4},
    "ResNet": {"depths": [1, 1, 1, 1], "embedding_size": 32, "hidden_sizes": [64, 96, 128, 160]},
    "Segformer": {"depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 64, 96]},
    "MobileViT": {"image_size": 64},
}
"""Family -> numbers of a small configuration, for classifiers of images of 64 by 64."""

TRANSFORMERS = [*TEXT, *PIXELS]


def from_torchvision(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network of torchvision with random weights, and an input."""
    import torchvision

    extra = {"aux_logits": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    size = 299 if name == "inception_v3" else 224
    return torchvision.models.get_model(name, weights=None, **extra), torch.randn(1, 3, size, size)


def from_timm(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network of timm with random weights, and an input."""
    import timm

    model = timm.create_model(name, pretrained=False)
    return model, torch.randn(1, *model.default_cfg["input_size"])


def from_transformers(name: str) -> tuple[nn.Module, Tensor]:
    """Return a small network of transformers with random weights, and an input."""
    import transformers

    numbers = {**TEXT, **PIXELS}[name]
    if name in PIXELS and name not in ("ConvNext", "ResNet", "Segformer"):
        numbers = {"image_size": 64, **numbers}
    config = getattr(transformers, f"{name}Config")(num_labels=10, **numbers)
    what = "SequenceClassification" if name in TEXT else "ImageClassification"
    network = getattr(transformers, f"{name}For{what}")(config)
    if name in TEXT:
        return Logits(network, "input_ids"), torch.randint(5, 1000, (1, 32))
    return Logits(network, "pixel_values"), torch.randn(1, 3, 64, 64)


SOURCES: dict[str, tuple[Callable[[str], tuple[nn.Module, Tensor]], list[str]]] = {
    "torchvision": (from_torchvision, TORCHVISION),
    "timm": (from_timm, TIMM),
    "transformers": (from_transformers, TRANSFORMERS),
}
