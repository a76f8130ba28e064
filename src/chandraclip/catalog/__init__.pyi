from .hardness import hardness_ratios as hardness_ratios
from .variability import averaged_light_curve as averaged_light_curve
from .variability import gregory_loredo as gregory_loredo
