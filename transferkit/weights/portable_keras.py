"""A `.keras` file as of a fresh network: older versions of Keras load it too, and all of it can be trained."""

import json
import os
import shutil
import zipfile
from pathlib import Path

CONFIG = "config.json"
# Arguments that Keras' own classes got after 3.6: left out where they say what the class did before it had them.
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
    """Rewrite the config of a `.keras` file in place, as `portable` has it.

    Args:
        members: texts to be added to the archive, by name.
    """
    whole = path.with_name(f"{path.name}.whole")
    os.replace(path, whole)
    try:
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
            for member in old.infolist():
                if member.filename == CONFIG:
                    members = {CONFIG: json.dumps(portable(json.loads(old.read(member))))} | members
                    continue
                with old.open(member) as source, new.open(member, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            for name, text in members.items():
                new.writestr(name, text)
    finally:
        whole.unlink()


def portable(node):
    """A part of a config, without the arguments of `ADDED` at their defaults, and with no layer frozen: that was of the
    last phase of training, and who trains the model further would train the head alone without a word."""
    if isinstance(node, list):
        return [portable(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: portable(value) for key, value in node.items()}
    if "class_name" in found and isinstance(config := found.get("config"), dict):
        of_keras = str(found.get("module")).startswith("keras")
        kept = {key: value for key, value in config.items() if not of_keras or key not in ADDED or value != ADDED[key]}
        found["config"] = kept | ({"trainable": True} if "trainable" in kept else {})
    return found
