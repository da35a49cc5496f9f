"""What to launch: from text to a provider spec.

Imports go one way: :mod:`.parse`, :mod:`.pages`, :mod:`.repository`, :mod:`.providers`.
"""

from clinder.repository.repository import Repository

__all__ = ["Repository"]
