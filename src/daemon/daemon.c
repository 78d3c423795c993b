/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon's life: opens everything, says that it is ready, loops, closes everything.
 *
 * One thread follows processes (this one), a few write what is kept (keeper.c), and the servers
 * have their own. This one sleeps in epoll until a file appears in the folder of boxes, a process
 * ends, the keeper has an answer, a signal comes, or something is due. Nothing here reads a box's
 * profile, resolves a name or waits for a disk.
 *
 * Order of the start: settings, keep folder, folder of boxes, the first scan, the servers. So the
 * first client finds everybody. Order of the end: servers, keeper, the rest.
 *
 * SYNCHRONIZATION  Main thread. Signals are blocked in all threads and read from a descriptor.
 */
#include "daemon/daemon.h"

#include "box/place.h"
#include "daemon/follow.h"
#include "daemon/notify.h"
#include "daemon/say.h"
#include "daemon/servers.h"
#include "daemon/source.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SCAN_EVERY_NS 10000000000ull
#define SCAN_AGAIN_NS 1000000000ull /* after lost events: not more often than that */
#define SETTLE_AFTER_NS 5000000000ull
#define EVENTS 64
#define NS_PER_SECOND 1000000000ull
#define ARENAS 1 /* few threads, and what one frees another can use */

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct daemon {
    struct settings flags, settings;
    struct daemon_counters counters;
    struct table table;
    struct keep_store *store;
    struct view_symbols *symbols;
    struct keeper *keeper;
    struct folders folders;
    struct follower follower;
    struct daemon_metrics metrics;
    struct servers servers;
    int epoll_fd, signal_fd;
    uint64_t scan_ns, scanned_ns, settle_ns;
    bool stopping;
};

/* ---- settings that act on the running daemon ---- */

static uint64_t keep_for_ns(const struct settings *settings) {
    return settings->value[SETTING_KEEP_FOR].number * 3600u * NS_PER_SECOND;
}

static void apply(struct daemon *daemon) {
    const struct settings *settings = &daemon->settings;
    follower_set_period(&daemon->follower,
                        settings->value[SETTING_KEEP_EVERY].number * NS_PER_SECOND);
    keeper_set_limits(daemon->keeper, settings->value[SETTING_KEEP_BYTES].number,
                      keep_for_ns(settings));
}

/* Names what was changed and needs a new start. */
static void tell_unchangeable(const struct settings *before, struct settings *after) {
    char names[256] = "";
    for (unsigned id = 0; id < SETTINGS; id++) {
        if (settings_changes_live((enum setting_id)id) ||
            strcmp(before->value[id].text, after->value[id].text) == 0)
            continue;
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", used > 0 ? ", " : "",
                 settings_name((enum setting_id)id));
        after->value[id] = before->value[id];
    }
    if (names[0] != '\0')
        daemon_say("restart mallardd for the new value of %s", names);
}

static void reload(struct daemon *daemon) {
    char problem[SETTINGS_PROBLEM_BYTES];
    struct settings *fresh = malloc(sizeof *fresh);
    daemon_notify_reloading();
    if (fresh == NULL)
        return;
    *fresh = daemon->flags;
    int error = settings_file(fresh, problem);
    if (error == 0) {
        tell_unchangeable(&daemon->settings, fresh);
        error = servers_reload(&daemon->servers, fresh, problem);
    }
    if (error < 0) {
        daemon_say("%s; the settings stay as they were", problem);
    } else {
        daemon->settings = *fresh;
        apply(daemon);
        daemon_say("settings read again");
    }
    free(fresh);
    daemon_notify("READY=1");
}

/* ---- the loop ---- */

static void scan(struct daemon *daemon) {
    uint64_t begin_ns = follow_now_ns();
    int error = folders_scan(&daemon->folders);
    if (error == -ENOENT)
        daemon_complain(DAEMON_COMPLAINT_FOLDER, "%s is not there yet", daemon->folders.path);
    else if (error < 0)
        daemon_complain(DAEMON_COMPLAINT_FOLDER, "cannot look into %s: %s", daemon->folders.path,
                        strerror(-error));
    else
        daemon_content(DAEMON_COMPLAINT_FOLDER);
    follower_after_scan(&daemon->follower);
    uint64_t now_ns = follow_now_ns();
    daemon_count(&daemon->counters.scans, 1);
    daemon_count(&daemon->counters.scan_ns, now_ns - begin_ns);
    daemon->scanned_ns = now_ns;
    daemon->scan_ns = now_ns + SCAN_EVERY_NS;
}

static void take_events(struct daemon *daemon) {
    if (folders_read_events(&daemon->folders) == 0)
        return;
    uint64_t soon_ns = daemon->scanned_ns + SCAN_AGAIN_NS;
    uint64_t now_ns = follow_now_ns();
    daemon->scan_ns = soon_ns > now_ns ? soon_ns : now_ns;
}

static void take_signals(struct daemon *daemon) {
    struct signalfd_siginfo info;
    while (read(daemon->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP)
            reload(daemon);
        else
            daemon->stopping = true;
    }
}

static void take_event(struct daemon *daemon, int fd) {
    if (fd == daemon->signal_fd)
        take_signals(daemon);
    else if (fd == daemon->folders.inotify_fd)
        take_events(daemon);
    else if (fd == keeper_fd(daemon->keeper))
        follower_kept(&daemon->follower);
    else
        follower_exit(&daemon->follower, fd);
}

/* Does what is due; returns the milliseconds until something is. */
static int turn(struct daemon *daemon) {
    uint64_t now_ns = follow_now_ns();
    if (daemon->scan_ns <= now_ns)
        scan(daemon);
    if (daemon->settle_ns <= now_ns) {
        keeper_settle(daemon->keeper);
        daemon->settle_ns = FOLLOW_IDLE;
    }
    uint64_t next_ns = follower_turn(&daemon->follower, now_ns);
    next_ns = daemon->scan_ns < next_ns ? daemon->scan_ns : next_ns;
    next_ns = daemon->settle_ns < next_ns ? daemon->settle_ns : next_ns;
    now_ns = follow_now_ns();
    return next_ns > now_ns ? (int)((next_ns - now_ns + 999999) / 1000000) : 0;
}

static void loop(struct daemon *daemon) {
    struct epoll_event events[EVENTS];
    while (!daemon->stopping) {
        int count = epoll_wait(daemon->epoll_fd, events, EVENTS, turn(daemon));
        for (int i = 0; i < count; i++)
            take_event(daemon, events[i].data.fd);
    }
}

/* ---- opening ---- */

static int complain(int error, const char *what) {
    daemon_say("cannot %s: %s", what, strerror(-error));
    return error;
}

static int listen_to(struct daemon *daemon, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(daemon->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int open_signals(struct daemon *daemon) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGIO, SIG_IGN); /* of a lease that is held for an instant, see discover.c */
    daemon->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return daemon->signal_fd < 0 ? -errno : listen_to(daemon, daemon->signal_fd);
}

/* Three descriptors a process. */
static void raise_limits(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* A folder that cannot be written to is better than none: what is in it can be shown. */
static int open_store(struct daemon *daemon) {
    char path[PATH_MAX], problem[KEEP_PROBLEM_BYTES];
    const char *named = daemon->settings.value[SETTING_KEEP].text;
    int error = 0;
    if (*named != '\0')
        snprintf(path, sizeof path, "%s", named);
    else
        error = keep_default_path(path, sizeof path);
    if (error < 0) {
        daemon_say("there is no place for what is kept; name a folder with --keep");
        return error;
    }
    error = keep_store_open(path, KEEP_WRITE, &daemon->store, problem);
    if (error == 0)
        return 0;
    if (error == -EROFS || error == -EACCES || error == -ENOSPC)
        error = keep_store_open(path, 0, &daemon->store, NULL);
    daemon_say("%s%s", problem, error == 0 ? "; what is in it is shown, nothing is added" : "");
    return error;
}

static int open_keeper(struct daemon *daemon) {
    struct keeper_options options = {
        .table = &daemon->table,
        .counters = &daemon->counters,
        .keep_bytes = daemon->settings.value[SETTING_KEEP_BYTES].number,
        .keep_for_ns = keep_for_ns(&daemon->settings),
    };
    int error = open_store(daemon);
    if (error < 0)
        return error;
    error = view_symbols_create(&daemon->symbols);
    if (error == 0)
        error = keep_symbols_attach(daemon->store, daemon->symbols);
    options.store = daemon->store;
    options.symbols = daemon->symbols;
    keep_boot(options.boot);
    if (error == 0)
        error = keeper_start(&options, &daemon->keeper);
    if (error == 0)
        error = listen_to(daemon, keeper_fd(daemon->keeper));
    return error < 0 ? complain(error, "start the keeper") : 0;
}

static int open_folders(struct daemon *daemon) {
    char path[PATH_MAX];
    const char *named = daemon->settings.value[SETTING_DIR].text;
    struct mal_box_place place;
    int error = 0;
    const struct folders_listener listener = {follower_appeared, follower_vanished,
                                              &daemon->follower};
    mal_box_place_read(&place);
    if (*named != '\0')
        snprintf(path, sizeof path, "%s", named);
    else if (place.named[0] != '\0')
        snprintf(path, sizeof path, "%s", place.named);
    else
        error = mal_box_folder_make(&place, path, sizeof path);
    if (error == 0)
        error = folders_open(&daemon->folders, path, &listener);
    if (error == 0)
        error = listen_to(daemon, daemon->folders.inotify_fd);
    return error < 0 ? complain(error, "watch the folder of boxes") : 0;
}

static void prepare_follower(struct daemon *daemon) {
    daemon->follower = (struct follower){.table = &daemon->table,
                                         .keeper = daemon->keeper,
                                         .counters = &daemon->counters,
                                         .epoll_fd = daemon->epoll_fd};
    kernel_log_open(&daemon->follower.log);
    discoverer_init(&daemon->follower.discoverer);
    apply(daemon);
}

static int open_servers(struct daemon *daemon) {
    char problem[SETTINGS_PROBLEM_BYTES];
    daemon->metrics = (struct daemon_metrics){&daemon->table, daemon->keeper, &daemon->counters};
    daemon->servers = (struct servers){.source = daemon_source(&daemon->table),
                                       .symbols = daemon->symbols,
                                       .metrics = &daemon->metrics};
    int error = servers_start(&daemon->servers, &daemon->settings, problem);
    if (error < 0)
        daemon_say("%s", problem);
    return error;
}

static void announce(const struct daemon *daemon) {
    const struct servers *servers = &daemon->servers;
    char line[PATH_MAX + 512];
    size_t used = 0;
    if (servers->tcp != NULL)
        used = (size_t)snprintf(line, sizeof line, "%s://%s/", http_server_scheme(servers->tcp),
                                http_server_address(servers->tcp));
    if (servers->local != NULL)
        used += (size_t)snprintf(line + used, sizeof line - used, "%s%s", used > 0 ? " and " : "",
                                 http_server_address(servers->local));
    printf("mallardd: %s watches %s\n", line, daemon->folders.path);
    fflush(stdout);
}

/* ---- the whole ---- */

static int open_all(struct daemon *daemon) {
    daemon->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (daemon->epoll_fd < 0)
        return complain(-errno, "start");
    table_init(&daemon->table);
    int error = open_signals(daemon);
    if (error < 0)
        return complain(error, "read signals");
    error = open_keeper(daemon);
    if (error < 0)
        return error;
    prepare_follower(daemon);
    error = open_folders(daemon);
    if (error < 0)
        return error;
    scan(daemon);
    daemon->settle_ns = follow_now_ns() + SETTLE_AFTER_NS;
    return open_servers(daemon);
}

/* After open_all failed the process ends: the kernel closes what is open. */
static void close_all(struct daemon *daemon) {
    servers_stop(&daemon->servers);
    keeper_stop(daemon->keeper);
    follower_close(&daemon->follower);
    folders_close(&daemon->folders);
    table_destroy(&daemon->table);
    view_symbols_destroy(daemon->symbols);
    keep_store_close(daemon->store);
    close(daemon->signal_fd);
    close(daemon->epoll_fd);
}

int daemon_run(const struct settings *flags, const struct settings *settings) {
    static struct daemon only; /* one a process */
    struct daemon *daemon = &only;
    daemon->flags = *flags;
    daemon->settings = *settings;
    raise_limits();
    mallopt(M_ARENA_MAX, ARENAS);
    int error = open_all(daemon);
    if (error < 0)
        return error == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
    announce(daemon);
    daemon_notify("READY=1");
    loop(daemon);
    daemon_notify("STOPPING=1");
    close_all(daemon);
    return EXIT_OK;
}
