"""Every word of the page that is not drawn by a script, and the ready prompt sets."""

from lmaczs.clap.similarity import prompts_from_labels

TITLE = "Hear why"
LEAD = "See and hear the part of a sound that made an audio classifier say what it is."
SOUND_HINT = "Sounds of up to {minutes} minutes, deleted within the hour, never passed on."
PROMPTS_HINT = "a dog barking\nrain\na person speaking"
# Of a Space, whose files everybody can see.
CODE = "https://huggingface.co/spaces/{space}/tree/main"
NO_SOUND = "There is no sound yet: upload a file and wait until it is there, record one, or press an example."
NO_UPLOAD = "The value of audio is no uploaded file: send one, e.g. handle_file('clip.wav') of gradio_client."
NO_PROMPT_LIST = (
    "The prompts are no list: send a list of sentences, or one text with a sentence on each line."
)
NO_METHOD_NAME = "The method is no text: send a name that /methods lists, or null for the default one."
CALL_FAILED = "This call cannot be answered: /gradio_api/info says what can be called, and with what."
OTHER_HOST = (
    "This page does not answer to this name: use the address that it was started at. (Who starts it may allow more "
    "names with LMACZS_HOSTS, with spaces between.)"
)
TOO_MANY_BYTES = (
    "More than {most} MB have come from this address lately: wait half an hour, or run the page on your own "
    "machine."
)
RUNNING = "Hear why is at {url} (Ctrl-C ends it)"
PORT_TAKEN = (
    "Port {port} is taken by another program: end it, or choose another with GRADIO_SERVER_PORT={other}."
)
AT_AREA = ", the strongest {percent} %"
BAD_BOXES = (
    "What was marked cannot be read: send up to {most} boxes as boxes:START-END@LOW-HIGH;… in seconds and hertz, "
    "each with an end after its start."
)
NO_TARGET = "The target is no text: send the sentence to explain, or null for the most probable one."
NOBODY_WAITS = "This call was cancelled."
NO_ADDRESSES = (
    "This page takes no addresses of sounds: send the file itself, e.g. handle_file('clip.wav') of gradio_client. "
    "(Who starts the page may allow them with LMACZS_ALLOW_URLS=1.)"
)
NOT_PUBLIC = (
    "This is no address of a public machine: give one that begins with https://, or send the file itself."
)
NOT_FETCHED = (
    "No sound could be fetched from this address: check it, without redirections, or send the file itself."
)
TOO_LARGE = "The sound at this address has more than {megabytes} MB: send a smaller one."
TOO_MUCH = (
    "{label} would hear this recording about {passes:,} times, and this page allows {most:,} in one request: choose "
    "{cheaper}, or a shorter recording."
)
WAITING = "In line, {} before you"
GONE = "This sound is no longer on the server: upload or record it again."
NO_METHOD = "No explanation method is installed for the model '{backend}': the scores are all it can give."
NO_GPU = (
    "No GPU could be lent for this, as each visitor has a daily quota: log in to Hugging Face, choose a shorter sound or "
    "a faster method, or try it again later."
)
TOO_LONG = (
    "This would take about {minutes} minutes on the GPU, which is lent for {most} at most: choose a shorter sound or a "
    "faster method."
)
OPENING = "opening {model}"
NOT_LOADED = (
    "{model} could not be loaded, the server may be short of memory: try it later, or use another classifier."
)
BAD_REQUEST = "This request does not fit the page: reload the page and try again."

ESC50_LABELS = [
    "dog",
    "rooster",
    "pig",
    "cow",
    "frog",
    "cat",
    "hen",
    "insects",
    "sheep",
    "crow",
    "rain",
    "sea_waves",
    "crackling_fire",
    "crickets",
    "chirping_birds",
    "water_drops",
    "wind",
    "pouring_water",
    "toilet_flush",
    "thunderstorm",
    "crying_baby",
    "sneezing",
    "clapping",
    "breathing",
    "coughing",
    "footsteps",
    "laughing",
    "brushing_teeth",
    "snoring",
    "drinking_sipping",
    "door_wood_knock",
    "mouse_click",
    "keyboard_typing",
    "door_wood_creaks",
    "can_opening",
    "washing_machine",
    "vacuum_cleaner",
    "clock_alarm",
    "clock_tick",
    "glass_breaking",
    "helicopter",
    "chainsaw",
    "siren",
    "car_horn",
    "engine",
    "train",
    "church_bells",
    "airplane",
    "fireworks",
    "hand_saw",
]

# Of a classifier that has labels of its own: adds them all.
ALL_LABELS = "all labels"
PROMPT_SETS: dict[str, list[str]] = {
    "Home": [
        "a door knock",
        "a toilet flushing",
        "a vacuum cleaner",
        "water pouring",
        "a clock ticking",
        "typing on a keyboard",
        "glass breaking",
        "a baby crying",
        "footsteps",
        "a person speaking",
    ],
    "Nature": [
        "rain",
        "thunder",
        "wind blowing",
        "sea waves",
        "a crackling fire",
        "birds chirping",
        "a dog barking",
        "a cat meowing",
        "crickets",
        "a frog croaking",
    ],
    "City": [
        "a car horn",
        "a siren",
        "an engine idling",
        "a jackhammer",
        "a helicopter",
        "church bells",
        "a train",
        "an airplane",
        "street music",
        "children playing",
    ],
    "ESC-50": prompts_from_labels(ESC50_LABELS),
}
