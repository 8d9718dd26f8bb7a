"""What a saved network answers for pictures, with Pillow and Keras alone: a script for a process of its own.

python reference.py MODEL.keras REQUEST.json ANSWERS.npz

It reads pictures as torchvision does: upright, the shorter side resized, the centre cut out; or resized to the whole
size; or padded. So it is the reference of `transferkit verify`, and an example of using a run without transferkit.
REQUEST.json has `paths`, `size` (height, width), `resize` (height, width, of the fit "crop"), `fit`, `interpolation`,
`channels` and `background`. ANSWERS.npz gets `logits` (n, classes) and `views` (n, height, width, channels).
"""

import json
import sys

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")  # other readers may start a program
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def read_view(path, request):
    """The view of a picture, uint8 (height, width, channels)."""
    with Image.open(path, formats=FORMATS) as opened:
        picture = ImageOps.exif_transpose(opened)
        if request["channels"] != 4 and picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = picture.convert(MODES[request["channels"]])
    (height, width), method = request["size"], FILTERS[request["interpolation"]]
    if request["fit"] == "squash":
        view = picture.resize((width, height), method)
    elif request["fit"] == "pad":
        colour = tuple(request["background"]) if request["channels"] > 1 else request["background"][0]
        view = ImageOps.pad(picture, (width, height), method, colour)
    else:
        rows, columns = request["resize"]
        if rows * picture.width >= columns * picture.height:
            resized = picture.resize((rows * picture.width // picture.height, rows), method)
        else:
            resized = picture.resize((columns, columns * picture.height // picture.width), method)
        left, top = round((resized.width - width) / 2), round((resized.height - height) / 2)
        view = resized.crop((left, top, left + width, top + height))
    return np.asarray(view).reshape(height, width, -1)


def main(model_path, request_path, answers_path):
    """Write the views of the pictures and the network's logits."""
    import keras

    with open(request_path, encoding="utf-8", errors="surrogateescape") as file:
        request = json.load(file)
    views = np.stack([read_view(path, request) for path in request["paths"]])
    model = keras.saving.load_model(model_path, safe_mode=True)
    logits = model.predict(views.astype("float32"), batch_size=16, verbose=0)
    np.savez(answers_path, views=views, logits=np.asarray(logits, "float32"))


if __name__ == "__main__":
    main(*sys.argv[1:])
