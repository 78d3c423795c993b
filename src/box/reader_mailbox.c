/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands: the only thing that a reader writes into a box.
 *
 * Readers of a file exclude each other by an OFD lock on the mailbox's bytes; `owner` excludes a
 * reader inside the process, looked at before the request and again after the answer. Own memory
 * is taken by compare-and-swap of `owner` alone.
 *
 * The mailbox page of a file is mapped for the futex calls and never loaded from: the kernel
 * answers EFAULT for a page that is gone where a load would end in SIGBUS. A wake that gets lost
 * costs one tick.
 */
#include "box/reader.h"

#include "base/now.h"

#include "box/reader_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define COMMAND_TICK_NS 20000000u

/* The mailbox of a reader: words are loaded and stored by system calls for a file, by atomics in
 * own memory. `page` is for futex calls only when the box is a file. */
struct post {
    struct mal_box_reader *reader;
    struct mal_box_mailbox *page; /* in memory: the mailbox itself */
    uint64_t offset;              /* in a file: of the mailbox */
    uint64_t deadline_ns;
    uint32_t me;
};

static int post_load(const struct post *post, struct mal_box_mailbox *ret_mailbox) {
    int error =
        mal_reader_section(post->reader, MAL_BOX_MAILBOX, 0, ret_mailbox, sizeof(*ret_mailbox));
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return error;
}

static int post_store(const struct post *post, size_t at, const void *data, size_t bytes) {
    ssize_t put = pwrite(post->reader->fd, data, bytes, (off_t)(post->offset + at));
    if (put < 0)
        return -errno;
    return (size_t)put == bytes ? 0 : -EIO;
}

static int post_store_word(const struct post *post, size_t at, uint32_t value) {
    if (post->reader->fd >= 0)
        return post_store(post, at, &value, sizeof(value));
    uint32_t *word = (uint32_t *)(void *)((char *)post->page + at);
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    return 0;
}

static int post_store_order(const struct post *post, uint32_t command, int64_t argument) {
    if (post->reader->fd < 0) {
        __atomic_store_n(&post->page->command, command, __ATOMIC_RELAXED);
        __atomic_store_n(&post->page->argument, argument, __ATOMIC_RELAXED);
        return 0;
    }
    int error = post_store_word(post, offsetof(struct mal_box_mailbox, command), command);
    if (error)
        return error;
    return post_store(post, offsetof(struct mal_box_mailbox, argument), &argument,
                      sizeof(argument));
}

static int post_expired(const struct post *post) {
    return mal_now_ns(CLOCK_MONOTONIC) >= post->deadline_ns ? -ETIMEDOUT : 0;
}

static int post_lock_file(const struct post *post, short type) {
    struct flock lock = {.l_type = type,
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)post->offset,
                         .l_len = sizeof(struct mal_box_mailbox)};
    return fcntl(post->reader->fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

/* Whether the mailbox can be had from `owner`: nobody, or somebody who is gone. */
static bool owner_is_gone(uint32_t owner) {
    return owner == 0 || !mal_reader_process_is_alive(owner, 0);
}

/* One attempt to become the owner; -EAGAIN while somebody else is. Readers of the file are kept
 * out by the lock, so an owner that is not the box's own process is a leftover. */
static int post_take_file(const struct post *post) {
    int error = post_lock_file(post, F_WRLCK);
    if (error)
        return error == -EACCES ? -EAGAIN : error;
    struct mal_box_mailbox mailbox;
    error = post_load(post, &mailbox);
    if (!error && mailbox.owner == post->reader->header.pid && !owner_is_gone(mailbox.owner))
        error = -EAGAIN;
    if (!error)
        error = post_store_word(post, offsetof(struct mal_box_mailbox, owner), post->me);
    if (error)
        post_lock_file(post, F_UNLCK);
    return error;
}

static int post_take_memory(const struct post *post) {
    uint32_t owner = __atomic_load_n(&post->page->owner, __ATOMIC_RELAXED);
    if (!owner_is_gone(owner))
        return -EAGAIN;
    bool taken = __atomic_compare_exchange_n(&post->page->owner, &owner, post->me, false,
                                             __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
    return taken ? 0 : -EAGAIN;
}

static int post_take(const struct post *post) {
    int error;
    for (;;) {
        error = post->reader->fd >= 0 ? post_take_file(post) : post_take_memory(post);
        if (error != -EAGAIN)
            return error;
        error = post_expired(post);
        if (error)
            return error;
        mal_reader_nap_ns(1000000);
    }
}

static void post_release(const struct post *post) {
    post_store_word(post, offsetof(struct mal_box_mailbox, owner), 0);
    if (post->reader->fd >= 0)
        post_lock_file(post, F_UNLCK);
}

static void post_wake(const struct post *post) {
    syscall(SYS_futex, &post->page->request, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Sleeps until `done` is no longer `seen`, at most one tick: a lost wake costs a tick. */
static void post_sleep(const struct post *post, uint32_t seen) {
    struct timespec tick = {.tv_nsec = COMMAND_TICK_NS};
    if (syscall(SYS_futex, &post->page->done, FUTEX_WAIT, seen, &tick, NULL, 0) != 0 &&
        errno == EFAULT)
        mal_reader_nap_ns(COMMAND_TICK_NS);
}

static int post_await(const struct post *post, uint32_t request,
                      struct mal_box_mailbox *ret_answer) {
    for (;;) {
        int error = post_load(post, ret_answer);
        if (error || ret_answer->done == request)
            return error;
        error = post_expired(post);
        if (error)
            return error;
        const struct mal_box_header *header = &post->reader->header;
        if (!mal_reader_process_is_alive(mal_reader_pid(post->reader), header->start_ticks))
            return -ESRCH;
        post_sleep(post, ret_answer->done);
    }
}

/* Puts one order into a mailbox that is held. The order before it may still be worked on, given
 * up by a reader that ran out of time; its answer must not be taken for that of this one. */
static int post_order(const struct post *post, uint32_t command, int64_t argument,
                      uint32_t *ret_request) {
    struct mal_box_mailbox mailbox;
    int error = post_load(post, &mailbox);
    if (!error)
        error = post_await(post, mailbox.request, &mailbox);
    if (!error)
        error = post_store_order(post, command, argument);
    uint32_t request = mailbox.request + 1;
    if (!error)
        error = post_store_word(post, offsetof(struct mal_box_mailbox, request), request);
    if (!error)
        *ret_request = request;
    return error;
}

/* One order and its answer. -EBUSY: another reader wrote over it. */
static int post_exchange(const struct post *post, uint32_t command, int64_t argument,
                         int64_t *ret_result) {
    struct mal_box_mailbox mailbox;
    uint32_t request;
    int error = post_order(post, command, argument, &request);
    if (error)
        return error;
    post_wake(post);
    error = post_await(post, request, &mailbox);
    if (error)
        return error;
    if (mailbox.owner != post->me || mailbox.command != command || mailbox.argument != argument)
        return -EBUSY;
    if (mailbox.error > 0 || mailbox.error < -4095)
        return -EBADMSG;
    if (mailbox.error == 0)
        *ret_result = mailbox.result;
    return mailbox.error;
}

static int post_run(struct post *post, uint32_t command, int64_t argument, int64_t *ret_result) {
    struct mal_box_mailbox mailbox;
    int error = post_load(post, &mailbox);
    if (error)
        return error;
    if (mailbox.served != 1)
        return -ESRCH;
    error = post_take(post);
    if (error)
        return error;
    error = post_exchange(post, command, argument, ret_result);
    post_release(post);
    return error;
}

static int post_run_file(struct post *post, uint32_t command, int64_t argument,
                         int64_t *ret_result) {
    if (!post->reader->writable)
        return -EROFS;
    long os_page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t page_offset = post->offset & ~(uint64_t)(os_page_bytes - 1);
    size_t bytes = (size_t)(post->offset - page_offset) + sizeof(struct mal_box_mailbox);
    char *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, post->reader->fd, (off_t)page_offset);
    if (map == MAP_FAILED)
        return -errno;
    post->page = (struct mal_box_mailbox *)(void *)(map + (post->offset - page_offset));
    int error = post_run(post, command, argument, ret_result);
    munmap(map, bytes);
    return error;
}

int mal_reader_command(struct mal_box_reader *reader, enum mal_box_command command,
                       int64_t argument, unsigned timeout_ms, int64_t *ret_result) {
    struct mal_status status;
    int error = mal_reader_status(reader, &status);
    if (error)
        return error;
    if (status.life != MAL_LIFE_ALIVE)
        return -ESRCH;
    struct post post = {.reader = reader,
                        .offset = reader->header.section[MAL_BOX_MAILBOX].offset,
                        .deadline_ns = mal_now_ns(CLOCK_MONOTONIC) + timeout_ms * 1000000ull,
                        .me = (uint32_t)getpid()};
    if (reader->fd >= 0)
        return post_run_file(&post, command, argument, ret_result);
    /* The handle promises not to write what is behind `base`, except this one section. */
    post.page = (struct mal_box_mailbox *)(void *)((uintptr_t)reader->base + post.offset);
    return post_run(&post, command, argument, ret_result);
}
