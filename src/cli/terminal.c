/* SPDX-License-Identifier: Apache-2.0
 *
 * The terminal, taken over and given back.
 *
 * Giving back must happen on every way out, so it uses nothing but tcsetattr and write, which a
 * signal handler may call, and is done at most once per taking over. Signals that end the process
 * give the terminal back and are raised again with their default action: the shell sees the truth.
 * Signals that the caller ignores stay ignored. SIGTSTP gives back, stops, and takes over again
 * when the process continues. What cannot be caught (SIGKILL) leaves the terminal as it is: `reset`
 * helps there.
 *
 * Continued in the background, taking over raises SIGTTOU, which is let in and stops us once more.
 *
 * Keys of the terminal that send signals (Ctrl-C, Ctrl-Z, Ctrl-\) still do.
 *
 * SYNCHRONIZATION  One thread and its signal handlers. SIGWINCH and SIGTSTP are only let in while
 * we wait for a key, so that what they change is not used meanwhile and no change is missed.
 */
#include "cli/terminal.h"

#include "base/attr.h"
#include "cli/key.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Another screen, cursor hidden; no automatic line wrap, so that a line that is wider than we
 * think does not shift the ones below it. */
#define TAKE_OVER "\033[?1049h\033[?25l\033[?7l"
#define GIVE_BACK "\033[0m\033[?7h\033[?25h\033[?1049l"

#define ESCAPE_MS 50 /* longer than between two bytes of one key, shorter than people notice */

static struct {
    struct termios before;
    volatile sig_atomic_t taken;
    volatile sig_atomic_t resized;
    sigset_t outside; /* the mask while we wait */
    char pending[32]; /* bytes that were read and are no key yet */
    size_t pending_count;
} terminal;

static const int ending[] = {SIGINT, SIGTERM, SIGHUP,  SIGQUIT, SIGPIPE, SIGABRT,
                             SIGBUS, SIGFPE,  SIGSEGV, SIGILL,  SIGXCPU, SIGALRM};

bool cli_terminal_usable(void) {
    const char *type = getenv("TERM");
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && type != NULL && *type != '\0' &&
           strcmp(type, "dumb") != 0;
}

bool cli_colours(void) {
    const char *unwanted = getenv("NO_COLOR");
    const char *type = getenv("TERM");
    return isatty(STDOUT_FILENO) && (unwanted == NULL || *unwanted == '\0') &&
           (type == NULL || strcmp(type, "dumb") != 0);
}

/* ---- taking over, giving back ---- */

static void put(const char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t written = write(STDOUT_FILENO, text, left);
        if (written < 0 && errno != EINTR)
            return;
        text += written > 0 ? written : 0;
        left -= written > 0 ? (size_t)written : 0;
    }
}

static int take_over(void) {
    struct termios raw = terminal.before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_iflag &= ~(tcflag_t)(ICRNL | IXON);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
        return -errno;
    terminal.taken = 1;
    put(TAKE_OVER);
    return 0;
}

static void give_back(void) {
    if (!terminal.taken)
        return;
    terminal.taken = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
    put(GIVE_BACK);
}

/* ---- signals ---- */

static void raise_default(int signal) {
    sigset_t only;
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigemptyset(&only);
    sigaddset(&only, signal);
    sigaction(signal, &plain, NULL);
    raise(signal);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
}

static void on_end(int signal) {
    give_back();
    raise_default(signal);
}

static void on_resize(int signal) {
    (void)signal;
    terminal.resized = 1;
}

static void on_stop(int signal) {
    int error = errno;
    struct sigaction again = {.sa_handler = on_stop};
    sigset_t only;
    give_back();
    raise_default(signal);
    sigemptyset(&only);
    sigaddset(&only, signal);
    sigprocmask(SIG_BLOCK, &only, NULL);
    sigaction(signal, &again, NULL);
    tcgetattr(STDIN_FILENO, &terminal.before);
    take_over();
    terminal.resized = 1;
    errno = error;
}

static void catch_signal(int signal, void (*handler)(int)) {
    struct sigaction before;
    struct sigaction action = {.sa_handler = handler};
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGTTOU);
    if (sigaction(signal, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(signal, &action, NULL);
}

static void catch_signals(void) {
    sigset_t inside;
    for (size_t i = 0; i < MAL_COUNT_OF(ending); i++)
        catch_signal(ending[i], on_end);
    catch_signal(SIGWINCH, on_resize);
    catch_signal(SIGTSTP, on_stop);
    sigemptyset(&inside);
    sigaddset(&inside, SIGWINCH);
    sigaddset(&inside, SIGTSTP);
    sigprocmask(SIG_BLOCK, &inside, &terminal.outside);
}

int cli_terminal_open(void) {
    if (tcgetattr(STDIN_FILENO, &terminal.before) < 0)
        return -errno;
    atexit(cli_terminal_close);
    catch_signals();
    return take_over();
}

void cli_terminal_close(void) {
    give_back();
}

struct cli_size cli_terminal_size(void) {
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
        return (struct cli_size){24, 80};
    return (struct cli_size){size.ws_row, size.ws_col};
}

/* ---- keys ---- */

/* Waits for bytes and adds them to the pending ones. 1, 0 for none in time, CLI_KEY_RESIZED or
 * CLI_KEY_GONE. */
static int read_more(int timeout_ms) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    size_t room = sizeof terminal.pending - terminal.pending_count;
    int ready = ppoll(&input, 1, &timeout, &terminal.outside);
    if (terminal.resized) {
        terminal.resized = 0;
        return CLI_KEY_RESIZED;
    }
    if (ready <= 0)
        return ready < 0 && errno != EINTR ? CLI_KEY_GONE : 0;
    ssize_t got = read(STDIN_FILENO, terminal.pending + terminal.pending_count, room);
    if (got <= 0)
        return got < 0 && errno == EINTR ? 0 : CLI_KEY_GONE;
    terminal.pending_count += (size_t)got;
    return 1;
}

static void forget(size_t bytes) {
    terminal.pending_count -= bytes;
    memmove(terminal.pending, terminal.pending + bytes, terminal.pending_count);
}

/* The next whole key of what was read; CLI_KEY_NONE when there is none. */
static int pending_key(void) {
    int key = CLI_KEY_NONE;
    size_t taken = 1;
    while (key == CLI_KEY_NONE && taken > 0 && terminal.pending_count > 0) {
        key = cli_key_decode(terminal.pending, terminal.pending_count, &taken);
        forget(taken);
    }
    return key;
}

int cli_terminal_key(int timeout_ms) {
    for (;;) {
        int key = pending_key();
        if (key != CLI_KEY_NONE)
            return key;
        bool half = terminal.pending_count > 0;
        int got = read_more(half ? ESCAPE_MS : timeout_ms);
        if (got > 1)
            return got;
        if (got == 0) {
            terminal.pending_count = 0;
            return half ? CLI_KEY_ESCAPE : CLI_KEY_NONE;
        }
    }
}
