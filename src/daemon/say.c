/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines on standard error. One write each, so that lines of several threads do not mix; control
 * characters of foreign texts (paths, names) become question marks, so that a process's name cannot
 * forge a line of the journal.
 *
 * SYNCHRONIZATION  `lock` guards `last`. Any thread may speak.
 */
#include "daemon/say.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 1024
#define SILENCE_SECONDS 600 /* what comes and goes is not said each time */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char line[LINE_BYTES];
    time_t said; /* CLOCK_MONOTONIC */
    bool content;
} last[DAEMON_COMPLAINTS]; /* lock */

static void format_line(char line[LINE_BYTES], const char *format, va_list arguments) {
    int head = snprintf(line, LINE_BYTES, "mallardd: ");
    vsnprintf(line + head, LINE_BYTES - (size_t)head - 1, format, arguments);
    size_t bytes = strlen(line);
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[bytes] = '\n';
    line[bytes + 1 < LINE_BYTES ? bytes + 1 : bytes] = '\0';
}

static void put_line(const char *line) {
    size_t bytes = strnlen(line, LINE_BYTES);
    while (bytes > 0) {
        ssize_t put = write(STDERR_FILENO, line, bytes);
        if (put <= 0)
            return;
        line += put;
        bytes -= (size_t)put;
    }
}

void daemon_say(const char *format, ...) {
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    format_line(line, format, arguments);
    va_end(arguments);
    put_line(line);
}

static time_t seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void daemon_complain(enum daemon_complaint kind, const char *format, ...) {
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    format_line(line, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&lock);
    bool same = strncmp(last[kind].line, line, LINE_BYTES) == 0;
    bool news = !same || (last[kind].content && seconds_now() >= last[kind].said + SILENCE_SECONDS);
    if (news) {
        memcpy(last[kind].line, line, LINE_BYTES);
        last[kind].said = seconds_now();
    }
    last[kind].content = false;
    pthread_mutex_unlock(&lock);
    if (news)
        put_line(line);
}

void daemon_content(enum daemon_complaint kind) {
    pthread_mutex_lock(&lock);
    last[kind].content = true;
    pthread_mutex_unlock(&lock);
}
