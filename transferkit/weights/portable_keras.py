"""Make a `.keras` file portable: older versions of Keras can load it, and all its layers are trainable."""

import json
import os
import shutil
import zipfile
from pathlib import Path

CONFIG = "config.json"
# {argument that Keras added after 3.6: value for the earlier behaviour}; arguments with these values are removed.
ADDED = {
    "antialias": False,
    "flash_attention": None,
    "gptq_unpacked_column_size": None,
    "input_axes": None,
    "lora_alpha": None,
    "output_axes": None,
    "output_padding": None,
    "quantization_config": None,
    "ragged": False,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
    "sliding_window": None,
    "use_gate": False,
}


def make_portable(path: Path, members: dict[str, str]):
    """Rewrite the config of a `.keras` file in place with `portable_config`.

    Args:
        members: {name: text} of members that are added to the archive.
    """
    whole = path.with_name(f"{path.name}.whole")
    os.replace(path, whole)
    try:
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
            for member in old.infolist():
                if member.filename == CONFIG:
                    members = {CONFIG: json.dumps(portable_config(json.loads(old.read(member))))} | members
                    continue
                with old.open(member) as source, new.open(member, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            for name, text in members.items():
                new.writestr(name, text)
    finally:
        whole.unlink()


def portable_config(node):
    """Convert a part of a config: remove the arguments of `ADDED`, and make all layers trainable.

    Otherwise layers that were frozen in the last phase of training would stay frozen in later training, unnoticed.
    """
    if isinstance(node, list):
        return [portable_config(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: portable_config(value) for key, value in node.items()}
    if "class_name" in found and isinstance(config := found.get("config"), dict):
        of_keras = str(found.get("module")).startswith("keras")
        kept = {key: value for key, value in config.items() if not of_keras or key not in ADDED or value != ADDED[key]}
        found["config"] = kept | ({"trainable": True} if "trainable" in kept else {})
    return found
