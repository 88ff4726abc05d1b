"""Start the page: `python app.py`, or a Space that finds this file.

LMACZS_BACKEND chooses the classifier ("compact-2" is embedded and works offline), LMACZS_DEVICE where it runs,
LMACZS_KEEP_MINUTES how long visitors' files stay, GRADIO_SERVER_NAME and GRADIO_SERVER_PORT the address; docs/hosting.md
has them all.
"""

import sys

from lmaczs.errors import LMACError
from lmaczs.ui.layout import build_demo
from lmaczs.ui.settings import Settings

try:
    demo = build_demo(Settings.from_environment())
except LMACError as error:
    # A variable that cannot be used is one sentence, here as everywhere.
    sys.exit(str(error))

if __name__ == "__main__":
    try:
        demo.serve()
    except LMACError as error:
        sys.exit(str(error))
