/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP plug-in's keeper.
 *
 * libmallard-http.so holds everything that serves: libmicrohttpd, protobuf-c, the symbolizer. It is
 * loaded by an explicit call or by the constructor when MALLARD_HTTP is set, reads this process's
 * own box and nothing else of ours, and marks its threads as Mallard's own.
 *
 * Fork: a child closes the sockets it inherited. When its parent ends (a program that puts itself
 * in the background), the child's background thread takes the address over.
 *
 * A pause waits for an answer that is being made, but not for ever: then the server ends later, by
 * itself, and the background thread starts it anew.
 *
 * SYNCHRONIZATION: `keeper_lock` serialises start and stop; it is a libc mutex, outside of the
 * order of ours, since both allocate. A forked child writes what it guards without it, while it has
 * one thread.
 */
#include "front/http.h"

#include "base/atomic.h"
#include "base/format.h"
#include "box/layout.h"
#include "box/writer.h"
#include "front/background.h"
#include "front/init.h"
#include "front/options.h"
#include "front/stats.h"
#include "front/thread.h"
#include "mallard/http_plugin.h"
#include "mallard/mallard.h"
#include "os/env.h"
#include "os/kernel.h"
#include "os/library.h"
#include "os/say.h"
#include "sample/profile.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#define PLUGIN_NAME "libmallard-http.so"
#define ADDRESS_BYTES 256
#define PROBLEM_BYTES 256
#define KNOB "MALLARD_HTTP"
#define PAUSE_PATIENCE_NS 1000000000u

struct plugin {
    __typeof__(&mallard_http_plugin_start) start;
    __typeof__(&mallard_http_plugin_stop) stop;
    __typeof__(&mallard_http_plugin_stop_within) stop_within;
    __typeof__(&mallard_http_plugin_threads) threads;
    __typeof__(&mallard_http_plugin_address) address;
    __typeof__(&mallard_http_plugin_after_fork_child) after_fork_child;
    __typeof__(&mallard_http_plugin_write_heap) write_heap;
};

enum state {
    OFF,
    SERVING,
    PAUSING, /* serves until an answer is made; is to end then, and to be started anew */
};

static pthread_mutex_t keeper_lock = PTHREAD_MUTEX_INITIALIZER;
static struct plugin plugin; /* keeper_lock; complete or all NULL */
static enum state state;     /* keeper_lock; released after `plugin`, read without the lock */

static char served_address[ADDRESS_BYTES]; /* keeper_lock; also what a child is to take over */
static pid_t waiting_for_parent;           /* background thread, in a child; 0: not waiting */

static bool load_plugin_locked(void) {
    if (plugin.start)
        return true;
    void *library = mal_library_load(PLUGIN_NAME);
    if (!library)
        return false;
    struct plugin found = {
        .start = mal_library_symbol(library, "mallard_http_plugin_start"),
        .stop = mal_library_symbol(library, "mallard_http_plugin_stop"),
        .stop_within = mal_library_symbol(library, "mallard_http_plugin_stop_within"),
        .threads = mal_library_symbol(library, "mallard_http_plugin_threads"),
        .address = mal_library_symbol(library, "mallard_http_plugin_address"),
        .after_fork_child = mal_library_symbol(library, "mallard_http_plugin_after_fork_child"),
        .write_heap = mal_library_symbol(library, "mallard_http_plugin_write_heap"),
    };
    bool complete = found.start && found.stop && found.stop_within && found.threads &&
                    found.address && found.after_fork_child && found.write_heap;
    if (complete)
        plugin = found;
    return complete;
}

/* What the plug-in allocates while it is called belongs to Mallard, not to the program. */
static uint8_t begin_own(void) {
    uint8_t before = mal_thread.flags;
    mal_thread_count_as_own();
    return before;
}

static void end_own(uint8_t before) {
    mal_thread.flags = before;
    mal_thread_redraw();
}

static void become_locked(enum state next) {
    mal_store_release(&state, next);
}

/* `ret_problem` keeps what it holds where there is nothing to say. */
static int start_locked(const char *address, char ret_problem[PROBLEM_BYTES]) {
    if (state != OFF)
        return -EALREADY;
    if (!load_plugin_locked())
        return -ENOSYS;
    if (!mal_profile_ensure_box())
        return -ENOMEM;
    struct mallard_http_plugin_args args = {
        .size = sizeof args,
        .box = mal_writer_base(),
        .box_bytes = MAL_BOX_BYTES,
        .address = address,
        .token = mal_options.http_token,
        .thread_begin = mal_thread_become_own,
        .problem = ret_problem,
        .problem_bytes = PROBLEM_BYTES,
    };
    int error = plugin.start(&args);
    if (error != 0)
        return error;
    become_locked(SERVING);
    if (plugin.address(served_address, sizeof served_address) != 0)
        served_address[0] = '\0';
    return 0;
}

static int listen_at(const char *address, char ret_problem[PROBLEM_BYTES]) {
    if (!mal_init())
        return -ENOMEM;
    pthread_mutex_lock(&keeper_lock);
    uint8_t before = begin_own();
    int error = start_locked(address, ret_problem);
    end_own(before);
    pthread_mutex_unlock(&keeper_lock);
    if (error == 0)
        mal_background_start();
    return error;
}

MAL_PUBLIC int mallard_http_listen(const char *address) {
    char problem[PROBLEM_BYTES];
    return address ? listen_at(address, problem) : -EINVAL;
}

MAL_PUBLIC int mallard_http_stop(void) {
    pthread_mutex_lock(&keeper_lock);
    int error = state != OFF ? plugin.stop() : -ENOENT;
    become_locked(OFF);
    served_address[0] = '\0';
    pthread_mutex_unlock(&keeper_lock);
    return error;
}

MAL_PUBLIC int mallard_http_address(char *ret_address, size_t bytes) {
    pthread_mutex_lock(&keeper_lock);
    int error = state != OFF ? plugin.address(ret_address, bytes) : -ENOENT;
    pthread_mutex_unlock(&keeper_lock);
    return error;
}

MAL_PUBLIC int mallard_write_heap_profile(int fd) {
    pthread_mutex_lock(&keeper_lock);
    uint8_t before = begin_own();
    int error = load_plugin_locked() ? 0 : -ENOSYS;
    if (error == 0)
        error = mal_profile_ensure_box() ? 0 : -ENOMEM;
    if (error == 0)
        error = plugin.write_heap(mal_writer_base(), MAL_BOX_BYTES, fd);
    end_own(before);
    pthread_mutex_unlock(&keeper_lock);
    return error;
}

static void say_problem(const char *address, int error, const char *problem) {
    if (error == -ENOSYS)
        mal_warn(KNOB "=%s: " PLUGIN_NAME " is not installed: going on without", address);
    else
        mal_warn(KNOB "=%s: %s: going on without", address, problem[0] ? problem : "no memory");
}

/* A program that inherited the knob from one that serves finds the address taken: that is how it
 * should be, and not worth a line from each of a build's thousand children. */
void mal_http_start_from_options(void) {
    char problem[PROBLEM_BYTES] = "";
    int error = listen_at(mal_options.http, problem);
    if (error == 0 || (error == -EADDRINUSE && mal_env_parent_has(KNOB, mal_options.http)))
        return;
    say_problem(mal_options.http, error, problem);
}

void mal_http_forget_in_child(int parent_pid) {
    pthread_mutex_init(&keeper_lock, NULL);
    if (state == OFF)
        return;
    plugin.after_fork_child(NULL);
    become_locked(OFF);
    waiting_for_parent = parent_pid;
    mal_background_hurry();
    mal_thread_hurry();
}

static bool stop_locked(uint64_t patience_ns) {
    bool stopped = plugin.stop_within(patience_ns) == 0;
    if (stopped)
        become_locked(OFF);
    return stopped;
}

bool mal_http_pause(void) {
    if (mal_load_relaxed(&state) == OFF || pthread_mutex_trylock(&keeper_lock) != 0)
        return false;
    bool may_come_back = state != OFF && served_address[0];
    bool paused = may_come_back && stop_locked(PAUSE_PATIENCE_NS);
    if (may_come_back && !paused)
        become_locked(PAUSING);
    pthread_mutex_unlock(&keeper_lock);
    return paused;
}

static void copy_address_locked(char ret_address[ADDRESS_BYTES]) {
    mal_format(ret_address, ADDRESS_BYTES, "%s", served_address);
}

void mal_http_resume(void) {
    char address[ADDRESS_BYTES], problem[PROBLEM_BYTES] = "";
    pthread_mutex_lock(&keeper_lock);
    copy_address_locked(address);
    pthread_mutex_unlock(&keeper_lock);
    int error = listen_at(address, problem);
    if (error != 0)
        say_problem(address, error, problem);
}

unsigned mal_http_threads(void) {
    return mal_load_acquire(&state) != OFF ? plugin.threads() : 0;
}

/* What a pause could not wait for. */
static void restart_paused(void) {
    if (mal_load_relaxed(&state) != PAUSING || pthread_mutex_trylock(&keeper_lock) != 0)
        return;
    bool stopped = state == PAUSING && stop_locked(0);
    pthread_mutex_unlock(&keeper_lock);
    if (stopped)
        mal_http_resume();
}

/* Whoever holds the lock may wait for an answer of this thread: the next round is soon enough. */
void mal_http_follow_process(void) {
    restart_paused();
    if (waiting_for_parent == 0 || mal_parent_pid() == waiting_for_parent ||
        pthread_mutex_trylock(&keeper_lock) != 0)
        return;
    char address[ADDRESS_BYTES];
    copy_address_locked(address);
    pthread_mutex_unlock(&keeper_lock);
    if (address[0] && mallard_http_listen(address) == 0)
        waiting_for_parent = 0;
}
