from .fit_result import FitResult as FitResult
from .fit_result import Measurement as Measurement
from .fitting import fit_spectrum as fit_spectrum
from .observation import Observation as Observation
from .opening import open as open
