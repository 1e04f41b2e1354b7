"""Serving: an OpenAI-compatible endpoint whose model names choose how it decodes: plainly, by samples, or by search.

`writing`, `thoughts` and `answering` know engines and searches, and no HTTP: the Space's Talk tab uses them too. The
rest knows OpenAI's protocol. Nothing here knows how engines are opened, nor datasets beyond keeping trees.
"""
