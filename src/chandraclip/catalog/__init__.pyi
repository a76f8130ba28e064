from .hardness import hardness_ratios as hardness_ratios
from .variability import gregory_loredo as gregory_loredo
