"""Start the page: `python app.py`, or a Space that finds this file.

LMACZS_BACKEND chooses the classifier ("compact-2" is embedded and works offline), LMACZS_DEVICE where it runs,
LMACZS_KEEP_MINUTES how long visitors' files stay, GRADIO_SERVER_NAME and GRADIO_SERVER_PORT the address; docs/hosting.md
has them all.
"""

import sys

from lmaczs.errors import LMACError
from lmaczs.ui.layout import build_demo
from lmaczs.ui.settings import Settings
from lmaczs.ui.text import RUNNING

try:
    demo = build_demo(Settings.from_environment())
except LMACError as error:
    # A variable that cannot be used is one sentence, here as everywhere.
    sys.exit(str(error))

if __name__ == "__main__":
    try:
        # Gradio itself would advise to share the page with the world.
        demo.serve(lambda url: print(RUNNING.format(url=url), flush=True))
    except LMACError as error:
        sys.exit(str(error))
