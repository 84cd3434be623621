"""Properties are checked without a deadline: a busy machine is not a mistake."""

from hypothesis import settings

settings.register_profile("lab", deadline=None)
settings.load_profile("lab")
