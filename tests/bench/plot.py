# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG files, with nothing but the standard library.

dot_chart: one row per workload, one dot per allocator, a whisker from its least to its greatest
value, on a logarithmic axis of ratios. line_panels: curves side by side, axes linear or logarithmic.
"""
import html
import math
import pathlib

COLOURS = {"glibc": "#888888", "jemalloc": "#e69f00", "tcmalloc": "#56b4e9", "mimalloc": "#cc79a7",
           "mallard": "#00805d", "mallard-off": "#7fcfb5", "mallard-rate1": "#b8a000", "mallard-lock": "#3b6fb6"}
MORE_COLOURS = ["#d55e00", "#0072b2", "#332288", "#aa4499", "#999933", "#882255"]
FONT = 'font-family="sans-serif"'


def colour(name, names):
    if name in COLOURS:
        return COLOURS[name]
    others = [other for other in names if other not in COLOURS]
    return MORE_COLOURS[others.index(name) % len(MORE_COLOURS)]


class Canvas:
    def __init__(self, width, height):
        self.width, self.height, self.parts = width, height, []

    def text(self, x, y, words, size=12, anchor="start", fill="#222", weight="normal", turn=None):
        place = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {FONT} font-size="{size}" text-anchor="{anchor}" fill="{fill}" '
                          f'font-weight="{weight}"{place}>{html.escape(str(words))}</text>')

    def line(self, x1, y1, x2, y2, stroke="#ddd", width=1.0, dash=""):
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" stroke-width="{width}"{dashes}/>')

    def dot(self, x, y, radius, fill, title=""):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="#fff" stroke-width="0.7">'
                          f'<title>{html.escape(title)}</title></circle>')

    def path(self, points, stroke, width):
        at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{at}" fill="none" stroke="{stroke}" stroke-width="{width}" stroke-linejoin="round"/>')

    def band(self, y, height, fill="#f6f6f6"):
        self.parts.append(f'<rect x="0" y="{y:.1f}" width="{self.width}" height="{height:.1f}" fill="{fill}"/>')

    def write(self, path):
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}">'
        pathlib.Path(path).write_text("\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *self.parts, "</svg>\n"]))


class Axis:
    """Values low..high onto pixels start..end."""

    def __init__(self, low, high, start, end, log):
        self.log = log
        self.low, self.high = (math.log(low), math.log(high)) if log else (low, high)
        self.low_value, self.high_value, self.start, self.end = low, high, start, end
        if self.high <= self.low:
            self.high = self.low + 1

    def at(self, value):
        value = math.log(max(value, 1e-12)) if self.log else value
        share = min(max((value - self.low) / (self.high - self.low), 0), 1)
        return self.start + share * (self.end - self.start)

    def ticks(self):
        if not self.log:
            step = 10 ** math.floor(math.log10(max(self.high - self.low, 1e-9)))
            step *= next(factor for factor in (0.1, 0.2, 0.25, 0.5, 1, 2, 2.5, 5) if (self.high - self.low) / (step * factor) <= 6)
            first = math.ceil(self.low / step)
            return [i * step for i in range(first, int(self.high / step + 1e-9) + 1)]
        decades = range(math.floor(math.log10(self.low_value)) - 1, math.ceil(math.log10(self.high_value)) + 1)
        span = math.exp(self.high - self.low)
        factors = (1, 1.2, 1.5, 2, 3, 5, 7) if span < 30 else (1, 2, 5) if span < 3000 else (1,)
        ticks = [f * 10.0 ** d for d in decades for f in factors]
        return [t for t in ticks if self.low_value * 0.999 <= t <= self.high_value * 1.001]


def short(value):
    for unit, size in (("M", 1e6), ("K", 1e3)):
        if value >= 10 * size:
            return f"{value / size:.0f}{unit}"
    return f"{value:.6g}"


def size(value):
    return f"{value // 1024}K" if value >= 1024 else f"{value}"


def legend(canvas, names, x, y):
    for name in names:
        canvas.dot(x + 5, y - 4, 5, colour(name, names))
        canvas.text(x + 14, y, name, weight="bold" if name == "mallard" else "normal")
        x += 30 + 7.2 * len(name)


def dot_chart(path, title, subtitle, rows, names, bold=()):
    """rows: [(label, {name: (value, least, greatest)})]; values are ratios."""
    row_height, top, left, right = 22, 84, 150, 30
    canvas = Canvas(980, top + row_height * len(rows) + 40)
    every = [number for _, cells in rows for cell in cells.values() for number in cell]
    axis = Axis(min([0.95, *every]), max([1.1, *every]) * 1.03, left, canvas.width - right, True)
    canvas.text(16, 26, title, 17, weight="bold")
    canvas.text(16, 44, subtitle, 12, fill="#555")
    legend(canvas, names, 16, 66)
    bottom = top + row_height * len(rows)
    for index, (label, _) in enumerate(rows):
        if index % 2:
            canvas.band(top + index * row_height, row_height)
        canvas.text(left - 10, top + (index + 0.68) * row_height, label, anchor="end", weight="bold" if label in bold else "normal")
    for tick in axis.ticks():
        canvas.line(axis.at(tick), top, axis.at(tick), bottom, "#bbb" if tick == 1 else "#e2e2e2")
        canvas.text(axis.at(tick), bottom + 16, f"{tick:.3g}×", 11, "middle", "#555")
    for index, (label, cells) in enumerate(rows):
        for place, name in enumerate(names):
            if name not in cells:
                continue
            value, least, greatest = cells[name]
            y = top + (index + 0.5) * row_height + (place - (len(names) - 1) / 2) * 2.2
            canvas.line(axis.at(least), y, axis.at(greatest), y, colour(name, names), 1.4)
            canvas.dot(axis.at(value), y, 5 if name == "mallard" else 4, colour(name, names), f"{label}, {name}: {value:.3f}")
    canvas.write(path)


def line_panels(path, title, subtitle, panels, names, x_label, y_label, log_x=False, log_y=False, per_row=2):
    """panels: [(heading, {name: [(x, y), ...]}, [(height, label) of horizontal marks])]."""
    width, height, left, top = 480, 300, 64, 84
    lines = (len(panels) + per_row - 1) // per_row
    canvas = Canvas(per_row * width + 20, top + lines * height + 10)
    canvas.text(16, 26, title, 17, weight="bold")
    canvas.text(16, 44, subtitle, 12, fill="#555")
    legend(canvas, names, 16, 66)
    for index, (heading, curves, marks) in enumerate(panels):
        x, y = index % per_row * width, top + index // per_row * height
        panel(canvas, (x + left, y + 24, x + width - 8, y + height - 44), heading, curves, marks, names, (log_x, log_y))
        canvas.text(x + (left + width) / 2, y + height - 10, x_label, 11, "middle", "#555")
        canvas.text(x + 14, y + height / 2, y_label, 11, "middle", "#555", turn=-90)
    canvas.write(path)


def panel(canvas, box, heading, curves, marks, names, logs):
    left, top, right, bottom = box
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return
    heights = [y for _, y in points] + [y for y, _ in marks]
    x_axis = Axis(min(x for x, _ in points), max(x for x, _ in points), left, right, logs[0])
    y_axis = Axis(max(min(heights), 1e-3) * 0.9 if logs[1] else 0, max(heights) * 1.06, bottom, top, logs[1])
    canvas.text(left, top - 8, heading, 13, weight="bold")
    for tick in y_axis.ticks():
        canvas.line(left, y_axis.at(tick), right, y_axis.at(tick))
        canvas.text(left - 6, y_axis.at(tick) + 4, short(tick), 11, "end", "#555")
    for tick in x_ticks(x_axis, logs[0]):
        canvas.line(x_axis.at(tick), top, x_axis.at(tick), bottom, "#eee")
        canvas.text(x_axis.at(tick), bottom + 15, size(tick) if logs[0] else short(tick), 11, "middle", "#555")
    for value, label in marks:
        canvas.line(left, y_axis.at(value), right, y_axis.at(value), "#c33", 1.2, "5 4")
        canvas.text(right - 4, y_axis.at(value) - 4, label, 11, "end", "#c33")
    for name in names:
        if name in curves:
            canvas.path([(x_axis.at(x), y_axis.at(y)) for x, y in curves[name]], colour(name, names), 2.6 if name == "mallard" else 1.6)


def x_ticks(axis, log):
    """Sizes go by powers of two."""
    if not log:
        return axis.ticks()
    return [2 ** power for power in range(0, 40, 2) if axis.low_value <= 2 ** power <= axis.high_value]
