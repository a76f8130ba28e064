from .events import EventList as EventList
from .events import read_events as read_events
from .response import Response as Response
from .response_reader import read_response as read_response
from .spectrum import Spectrum as Spectrum
from .spectrum import read_spectrum as read_spectrum
from .writer import to_ogip as to_ogip
