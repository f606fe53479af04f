"""Networks for images and their knobs. ``family`` tells them apart; a section that does not name one means a residual network."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, Tag, model_validator

from core.recipes.sections.auto import PatchSize
from core.recipes.sections.families import by_family
from core.spec import Section

IMAGENET_DEPTHS = (18, 34, 50, 101, 152)
Stem = Literal["auto", "small", "large"]
STEM = "small: keeps the resolution; large: the paper's, which divides it by 4 (googlenet, resnet, alexnet); auto: large from 64 pixels on"
DROPOUT = "share of the last layers' inputs that is left out in each step"
STOCHASTIC_DEPTH = "share of images for which the last block is left out in a step, rising from 0 at the first (Huang et al. 2016)"
HIDDEN = "units of each of the two layers before the last"


class ImageModel(Section):
    """What all families have. The data decides what ``auto`` means, not the node."""

    settled_by_device: ClassVar[tuple[str, ...]] = ("stem", "patch")


class AlexNet(ImageModel):
    """Krizhevsky 2014 (arXiv:1404.5997): five convolutions and three linear layers."""

    family: Literal["alexnet"]
    stem: Stem = Field(default="auto", description=STEM)
    hidden: int = Field(default=4096, ge=16, le=16_384, description=HIDDEN)
    dropout: float = Field(default=0.5, ge=0, lt=1, description=DROPOUT)


class Vgg(ImageModel):
    """Simonyan and Zisserman 2014 (arXiv:1409.1556), with batch normalisation (arXiv:1502.03167) unless told otherwise."""

    family: Literal["vgg"]
    depth: Literal[11, 13, 16, 19] = 16
    width: int = Field(default=64, ge=4, le=256, description="channels of the first stage; the last has eight times as many")
    batch_norm: bool = True
    stem: Stem = Field(
        default="auto", description="large: 7x7 values per channel reach the linear layers; small: one; auto: large from 64 pixels on"
    )
    hidden: int = Field(default=4096, ge=16, le=16_384, description=HIDDEN)
    dropout: float = Field(default=0.5, ge=0, lt=1, description=DROPOUT)


class GoogLeNet(ImageModel):
    """Szegedy et al. 2014 (arXiv:1409.4842): nine inception blocks, with batch normalisation in place of the auxiliary heads."""

    family: Literal["googlenet"]
    stem: Stem = Field(default="auto", description=STEM)
    dropout: float = Field(default=0.4, ge=0, lt=1, description=DROPOUT)


class ResNet(ImageModel):
    """He et al. 2015 (arXiv:1512.03385): depths 18, 34, 50, 101 and 152 of section 4.1; 6n + 2 for small images, section 4.2."""

    family: Literal["resnet"] = "resnet"
    depth: int = Field(
        default=8, ge=8, le=152, description="weighted layers: 18, 34, 50, 101, 152 (four stages), or 8, 14, 20, 26, 32, ... (three)"
    )
    width: int | None = Field(
        default=None, ge=4, le=256, description="channels of the first stage, doubled by each next; null: 64 with four stages, else 16"
    )
    stem: Stem = Field(default="auto", description=STEM)
    dropout: float = Field(default=0.0, ge=0, lt=1, description=DROPOUT)
    stochastic_depth: float = Field(default=0.0, ge=0, lt=1, description=STOCHASTIC_DEPTH)

    @model_validator(mode="after")
    def _depth_fits_the_family(self) -> Self:
        if self.depth not in IMAGENET_DEPTHS and (self.depth % 6 != 2 or self.depth > 110):
            raise ValueError(f"depth {self.depth} is neither 18, 34, 50, 101 or 152 nor 6n + 2 (8, 14, 20, 26, ..., 110)")
        return self


class ResNet9(ImageModel):
    """Page 2018 ("How to train your ResNet"): three stages that pool and widen, for small images; fast, and good with few of them."""

    family: Literal["resnet9"]
    width: int = Field(default=64, ge=4, le=256, description="channels of the first layer; the last has eight times as many")
    dropout: float = Field(default=0.0, ge=0, lt=1, description=DROPOUT)


class VisionTransformer(ImageModel):
    """Dosovitskiy et al. 2020 (arXiv:2010.11929); depth 12, width 768, 12 heads and patch 16 are ViT-B/16."""

    family: Literal["vit"]
    patch: PatchSize = Field(
        default="auto", description="side in pixels of what becomes one token; auto: a divisor of the side that gives some 49 or more"
    )
    depth: int = Field(default=6, ge=1, le=48)
    width: int = Field(default=192, ge=8, le=4096)
    heads: int = Field(default=3, ge=1, le=64)
    dropout: float = Field(default=0.0, ge=0, lt=1, description="in the embedding and behind each attention and linear layer")
    stochastic_depth: float = Field(default=0.0, ge=0, lt=1, description=STOCHASTIC_DEPTH)

    @model_validator(mode="after")
    def _width_divides_by_the_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be shared equally by {self.heads} heads")
        return self


Model = Annotated[
    Annotated[AlexNet, Tag("<alexnet>")]
    | Annotated[Vgg, Tag("<vgg>")]
    | Annotated[GoogLeNet, Tag("<googlenet>")]
    | Annotated[ResNet, Tag("<resnet>")]
    | Annotated[ResNet9, Tag("<resnet9>")]
    | Annotated[VisionTransformer, Tag("<vit>")],
    by_family("alexnet", "vgg", "googlenet", "resnet", "resnet9", "vit", default="resnet"),
]
