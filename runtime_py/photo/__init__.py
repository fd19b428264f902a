"""Photos in and out: decoding, encoding, metadata and color, with typed errors for whatever is not a photo."""

from pocketcrafter.runtime.photo.decode import decode
from pocketcrafter.runtime.photo.encode import encode, save
from pocketcrafter.runtime.photo.load import PhotoLike, load
from pocketcrafter.runtime.photo.model import Photo, PhotoFormat

__all__ = ["Photo", "PhotoFormat", "PhotoLike", "decode", "encode", "load", "save"]
