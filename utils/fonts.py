"""Fonts of plots: names of classes and files may be in any script."""

import warnings

# Families that come with Windows, macOS and Linux, for the letters that matplotlib's own font lacks
FAMILIES = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "PingFang SC", "Microsoft YaHei", "Yu Gothic"),
    *("Malgun Gothic", "Apple SD Gothic Neo", "Noto Sans Devanagari", "Nirmala UI", "Noto Sans Thai", "Tahoma"),
    *("Arial Unicode MS", "Noto Sans", "Segoe UI"),
)


def use_fonts_of_all_scripts():
    """Let plots take letters that their font lacks from others of the machine; what none has, is drawn as a box."""
    from matplotlib import font_manager, rcParams  # slow to import

    installed = {font.name for font in font_manager.fontManager.ttflist}
    rcParams["font.family"] = ["DejaVu Sans", *(name for name in FAMILIES if name in installed)]
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")
