"""stub to be replaced"""


def write(out, swept, trials):
    out.write("sweep.html", b"")
