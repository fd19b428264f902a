"""LiteRT models (`.tflite`): converted in an environment of their own, proved by LiteRT's own interpreter."""
