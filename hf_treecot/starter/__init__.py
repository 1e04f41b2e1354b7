"""The starter model: small enough to be trained on a laptop, so that everything runs offline.

It must not know searches.
"""
