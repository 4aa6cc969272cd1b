"""`python -m mk` is `mk`."""

import sys

from mk.cli.main import main

sys.exit(main())
