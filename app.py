"""Start the page: `python app.py`, or a Space that finds this file.

LMACZS_BACKEND chooses the classifier ("compact" is embedded and works offline), LMACZS_DEVICE where it runs,
LMACZS_KEEP_MINUTES how long visitors' files stay, GRADIO_SERVER_NAME and GRADIO_SERVER_PORT the address.
"""

from lmaczs.ui.layout import build_demo
from lmaczs.ui.settings import Settings

demo = build_demo(Settings.from_environment())

if __name__ == "__main__":
    demo.serve()
