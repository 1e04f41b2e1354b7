"""The app of a Space: all of it is in the package."""

from hf_treecot.space.app import serve
from hf_treecot.space.arguments import SpaceArguments


serve(SpaceArguments())
