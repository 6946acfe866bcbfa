"""The pages of the documentation, as text."""

import re


def code_blocks(text):
    """The fenced blocks of a page, and a copy of the page without them."""
    blocks = re.findall(r"^```\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return blocks, re.sub(r"^```\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
