from .observation import Observation as Observation
from .opening import open as open
