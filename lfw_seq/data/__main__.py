"""`python -m lfw_seq.data`: print the source `make train` can use, "lfw" or "synthetic", and on stderr why."""

import sys
from dataclasses import fields

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lfw_seq.command import CONF
from lfw_seq.data.lfw import LFW
from lfw_seq.errors import UsageError


def main() -> None:
    """Find or download LFW; else say why the drawn faces stand in."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        keys = OmegaConf.to_container(compose("train").data, resolve=True)
    assert isinstance(keys, dict)
    try:
        faces = LFW(**{field.name: keys[field.name] for field in fields(LFW)}).load()
    except UsageError as error:
        print(f"Training on drawn faces, not on photos of people: {error}", file=sys.stderr)
        print("synthetic")
    else:
        found = f"{faces.source}, {len(faces.labels):,} photos of {len(faces.names)} people"
        print(f"Training on photos of people: {found}", file=sys.stderr)
        print("lfw")


main()
