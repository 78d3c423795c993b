/* SPDX-License-Identifier: Apache-2.0
 *
 * One line on a terminal while something takes its time, gone when it is done. Nothing where
 * standard error is no terminal: a log needs none of it.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/cli.h"
#include "cli/clip.h"

#include "http/heap_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COLUMNS 79 /* one less than any terminal has: a line that wraps cannot be taken back */
#define TO_START_AND_CLEAR "\r\033[K"

static bool is_wanted(void) {
    const char *type = getenv("TERM");
    return isatty(STDERR_FILENO) && type != NULL && strcmp(type, "dumb") != 0;
}

void cli_progress(const char *format, ...) {
    char text[256];
    struct view_buffer out = {0};
    va_list arguments;
    if (!is_wanted())
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    char *safe = clip_printable(text, strlen(text));
    view_buffer_text(&out, TO_START_AND_CLEAR);
    clip_put(&out, safe != NULL ? safe : "", COLUMNS);
    http_write_all(STDERR_FILENO, out.data, out.bytes);
    view_buffer_free(&out);
    free(safe);
}

void cli_progress_end(void) {
    if (is_wanted())
        http_write_all(STDERR_FILENO, TO_START_AND_CLEAR, strlen(TO_START_AND_CLEAR));
}
