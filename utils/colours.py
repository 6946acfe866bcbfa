"""Colours of every plot."""

INK = "#1a1a2e"  # lines and text; the report replaces it by the text colour of its page
# The palette of Okabe and Ito, which colour-blind readers can distinguish
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
