/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds boxes for tests: an anonymous mapping of the layout's full size, filled in by hand.
 *
 * The file form is written sparsely (only pages that hold anything), so a folder of many boxes
 * stays small. The mailbox server maps the file, as a real writer does, and answers from one
 * thread. Nothing here uses the reader or the writer: a mistake in them must not hide in here.
 */
#include "support/box_fixture.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STRIPES = 2 };

struct box_fixture {
    uint8_t *base;
    struct mal_box_header *header;
};

struct box_server {
    struct mal_box_mailbox *mailbox;
    void *mapping; /* NULL: the mailbox is somebody else's memory */
    box_answer *answer;
    uint32_t stop;
    pthread_t thread;
};

static void require(int condition, const char *what) {
    if (condition)
        return;
    fprintf(stderr, "box_fixture: %s (errno %d)\n", what, errno);
    abort();
}

static uint64_t now_unix_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t box_fixture_start_ticks(uint32_t pid) {
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

static void lay_out_sections(struct mal_box_header *header) {
    const uint64_t bytes[MAL_BOX_SECTIONS] = {
        [MAL_BOX_STATS] = sizeof(struct mal_box_stats),
        [MAL_BOX_MODULES] = MAL_BOX_MODULES_MAX * sizeof(struct mal_box_module),
        [MAL_BOX_STRINGS] = MAL_BOX_STRINGS_BYTES,
        [MAL_BOX_STACKS] = MAL_BOX_STACK_WORDS * sizeof(uint64_t),
        [MAL_BOX_BUCKETS] = MAL_BOX_BUCKETS_MAX * sizeof(struct mal_box_bucket),
        [MAL_BOX_COUNTS] = MAL_BOX_BUCKETS_MAX * MAL_BOX_STRIPES_MAX * sizeof(struct mal_box_count),
        [MAL_BOX_HISTORY] = sizeof(struct mal_box_history),
        [MAL_BOX_TRACE] = sizeof(struct mal_box_trace),
        [MAL_BOX_MAILBOX] = sizeof(struct mal_box_mailbox),
        [MAL_BOX_SPANS] = sizeof(struct mal_box_spans),
    };
    uint64_t offset = MAL_BOX_PAGE_BYTES;
    for (int id = 0; id < MAL_BOX_SECTIONS; id++) {
        header->section[id] = (struct mal_box_section){offset, bytes[id]};
        offset += MAL_BOX_ROUND(bytes[id]);
    }
    require(offset == MAL_BOX_BYTES, "the sections do not add up to MAL_BOX_BYTES");
}

static void fill_identity(struct mal_box_header *header) {
    memcpy(header->magic, MAL_BOX_MAGIC, sizeof(header->magic));
    header->version = MAL_BOX_VERSION;
    header->header_bytes = sizeof(*header);
    header->file_bytes = MAL_BOX_BYTES;
    header->pid = (uint32_t)getpid();
    header->parent_pid = (uint32_t)getppid();
    header->uid = (uint32_t)geteuid();
    header->start_ticks = box_fixture_start_ticks(header->pid);
    header->started_unix_ns = now_unix_ns() - 3723000000000u;
    header->started_mono_ns = 1000000000u;
    header->cpus = (uint32_t)sysconf(_SC_NPROCESSORS_CONF);
    header->os_page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
    header->stripes = STRIPES;
    header->mem_profile_rate = 524288;
    header->state = MAL_BOX_RUNNING;
}

struct box_fixture *box_fixture_new(void) {
    struct box_fixture *fixture = calloc(1, sizeof(*fixture));
    require(fixture != NULL, "out of memory");
    void *base = mmap(NULL, MAL_BOX_BYTES, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(base != MAP_FAILED, "mmap");
    fixture->base = base;
    fixture->header = base;
    lay_out_sections(fixture->header);
    fill_identity(fixture->header);
    box_fixture_set_exe(fixture, "/usr/bin/example");
    box_fixture_set_cmdline(fixture, (const char *const[]){"example", "--port", "80", NULL});
    box_fixture_set_options(fixture, "GOGC=100\n");
    fixture->header->cgroup = box_fixture_add_string(fixture, "0::/example.slice", 17);
    return fixture;
}

void box_fixture_free(struct box_fixture *fixture) {
    if (!fixture)
        return;
    munmap(fixture->base, MAL_BOX_BYTES);
    free(fixture);
}

void *box_fixture_base(struct box_fixture *fixture) {
    return fixture->base;
}

size_t box_fixture_bytes(const struct box_fixture *fixture) {
    (void)fixture;
    return MAL_BOX_BYTES;
}

struct mal_box_header *box_fixture_header(struct box_fixture *fixture) {
    return fixture->header;
}

void *box_fixture_section(struct box_fixture *fixture, enum mal_box_section_id id) {
    return fixture->base + fixture->header->section[id].offset;
}

struct mal_box_stats *box_fixture_stats(struct box_fixture *fixture) {
    return box_fixture_section(fixture, MAL_BOX_STATS);
}

struct mal_box_mailbox *box_fixture_mailbox(struct box_fixture *fixture) {
    return box_fixture_section(fixture, MAL_BOX_MAILBOX);
}

void box_fixture_set_process(struct box_fixture *fixture, uint32_t pid, uint64_t start_ticks) {
    fixture->header->pid = pid;
    fixture->header->start_ticks = start_ticks;
}

void box_fixture_set_exited(struct box_fixture *fixture, int exit_code) {
    fixture->header->exit_code = exit_code;
    fixture->header->ended_unix_ns = now_unix_ns();
    fixture->header->state = MAL_BOX_EXITED;
}

struct mal_box_string box_fixture_add_string(struct box_fixture *fixture, const void *data,
                                             size_t bytes) {
    uint32_t used = fixture->header->strings_used;
    require(bytes <= MAL_BOX_STRINGS_BYTES - used, "section STRINGS is full");
    memcpy((char *)box_fixture_section(fixture, MAL_BOX_STRINGS) + used, data, bytes);
    fixture->header->strings_used = used + (uint32_t)bytes;
    return (struct mal_box_string){used, (uint32_t)bytes};
}

void box_fixture_set_exe(struct box_fixture *fixture, const char *exe) {
    fixture->header->exe = box_fixture_add_string(fixture, exe, strlen(exe));
}

void box_fixture_set_cmdline(struct box_fixture *fixture, const char *const *arguments) {
    char joined[4096];
    size_t bytes = 0;
    for (int i = 0; arguments[i]; i++) {
        size_t length = strlen(arguments[i]) + 1;
        require(bytes + length <= sizeof(joined), "the command line is too long");
        memcpy(joined + bytes, arguments[i], length);
        bytes += length;
    }
    fixture->header->cmdline = box_fixture_add_string(fixture, joined, bytes ? bytes - 1 : 0);
}

void box_fixture_set_options(struct box_fixture *fixture, const char *options) {
    fixture->header->options = box_fixture_add_string(fixture, options, strlen(options));
}

struct mal_box_module *box_fixture_add_module(struct box_fixture *fixture,
                                              const struct mal_box_module *module,
                                              const char *path) {
    uint32_t index = fixture->header->modules_used;
    require(index < MAL_BOX_MODULES_MAX, "section MODULES is full");
    struct mal_box_module *entry =
        (struct mal_box_module *)box_fixture_section(fixture, MAL_BOX_MODULES) + index;
    *entry = *module;
    entry->path = box_fixture_add_string(fixture, path, strlen(path));
    fixture->header->modules_used = index + 1;
    return entry;
}

/* Finds the GNU build-id among the notes of one segment. */
static void take_build_id(const uint8_t *notes, size_t bytes, struct mal_box_module *module) {
    for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= bytes;) {
        ElfW(Nhdr) note;
        memcpy(&note, notes + at, sizeof(note));
        size_t name = at + sizeof(note), desc = name + ((note.n_namesz + 3u) & ~3u);
        size_t next = desc + ((note.n_descsz + 3u) & ~3u);
        if (next > bytes)
            return;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            memcmp(notes + name, "GNU", 4) == 0 && note.n_descsz <= MAL_BOX_BUILD_ID_MAX) {
            memcpy(module->build_id, notes + desc, note.n_descsz);
            module->build_id_bytes = note.n_descsz;
            return;
        }
        at = next;
    }
}

static void add_segments(struct box_fixture *fixture, const ElfW(Phdr) * segments, size_t count,
                         struct mal_box_module *module, const char *path) {
    for (size_t i = 0; i < count; i++) {
        const ElfW(Phdr) *segment = &segments[i];
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X))
            continue;
        uint64_t start = (segment->p_vaddr + module->load_bias) & ~(uint64_t)4095;
        module->start = start;
        module->limit = module->load_bias + segment->p_vaddr + segment->p_memsz;
        module->file_offset = segment->p_offset & ~(uint64_t)4095;
        box_fixture_add_module(fixture, module, path);
    }
}

static int add_loaded_object(struct dl_phdr_info *info, size_t bytes, void *context) {
    (void)bytes;
    struct mal_box_module module = {.load_bias = info->dlpi_addr};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_NOTE && module.build_id_bytes == 0)
            take_build_id((const uint8_t *)(info->dlpi_addr + segment->p_vaddr), segment->p_memsz,
                          &module);
    }
    char program[PATH_MAX] = "";
    const char *path = info->dlpi_name;
    if (!path[0] && readlink("/proc/self/exe", program, sizeof(program) - 1) > 0)
        path = program;
    add_segments(context, info->dlpi_phdr, info->dlpi_phnum, &module, path);
    return 0;
}

void box_fixture_add_own_modules(struct box_fixture *fixture) {
    dl_iterate_phdr(add_loaded_object, fixture);
}

uint64_t box_fixture_add_file(struct box_fixture *fixture, const char *path, uint64_t load_bias) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return 0;
    size_t bytes = (size_t)status.st_size;
    uint8_t *file = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    require(file != MAP_FAILED, "mmap of an ELF file");
    const ElfW(Ehdr) *elf = (const void *)file;
    const ElfW(Phdr) *segments = (const void *)(file + elf->e_phoff);
    struct mal_box_module module = {.load_bias = load_bias};
    for (int i = 0; i < elf->e_phnum; i++) {
        if (segments[i].p_type == PT_NOTE && module.build_id_bytes == 0)
            take_build_id(file + segments[i].p_offset, segments[i].p_filesz, &module);
    }
    uint32_t before = fixture->header->modules_used;
    add_segments(fixture, segments, elf->e_phnum, &module, path);
    munmap(file, bytes);
    struct mal_box_module *added = box_fixture_section(fixture, MAL_BOX_MODULES);
    return fixture->header->modules_used > before ? added[before].start : 0;
}

uint32_t box_fixture_add_stack(struct box_fixture *fixture, const uint64_t *pcs, uint32_t depth) {
    uint32_t at = fixture->header->stacks_used;
    require(depth < MAL_BOX_STACK_WORDS - at, "section STACKS is full");
    uint64_t *words = box_fixture_section(fixture, MAL_BOX_STACKS);
    words[at] = depth;
    memcpy(words + at + 1, pcs, depth * sizeof(*pcs));
    fixture->header->stacks_used = at + 1 + depth;
    return at;
}

struct mal_box_bucket *box_fixture_add_bucket(struct box_fixture *fixture, uint32_t stack,
                                              uint64_t size, uint64_t rate, uint64_t allocs,
                                              uint64_t frees) {
    uint32_t index = fixture->header->buckets_used;
    require(index < MAL_BOX_BUCKETS_MAX, "section BUCKETS is full");
    struct mal_box_bucket *bucket =
        (struct mal_box_bucket *)box_fixture_section(fixture, MAL_BOX_BUCKETS) + index;
    *bucket = (struct mal_box_bucket){.stack = stack,
                                      .kind = MAL_BOX_KIND_MALLOC,
                                      .size = size,
                                      .rate = rate,
                                      .first_unix_ns = now_unix_ns()};
    *box_fixture_allocs(fixture, index) = allocs;
    *box_fixture_frees(fixture, index) = frees;
    fixture->header->buckets_used = index + 1;
    return bucket;
}

/* Line by line, four counts each: those of one stripe, then those of the next. */
static uint64_t *count_words(struct box_fixture *fixture, uint32_t bucket, uint32_t stripe) {
    uint64_t *words = box_fixture_section(fixture, MAL_BOX_COUNTS);
    return words + (bucket / 4 * STRIPES + stripe) * 8ul + bucket % 4 * 2;
}

uint64_t *box_fixture_allocs(struct box_fixture *fixture, uint32_t bucket) {
    return count_words(fixture, bucket, 0);
}

uint64_t *box_fixture_frees(struct box_fixture *fixture, uint32_t bucket) {
    return count_words(fixture, bucket, STRIPES - 1) + 1;
}

static void fill_classes(struct mal_box_stats *stats) {
    static const uint64_t sizes[] = {0, 16, 32, 48, 64, 128, 256, 1024, 4096, 16384, 32768};
    stats->class_count = sizeof(sizes) / sizeof(sizes[0]);
    for (uint64_t i = 0; i < stats->class_count; i++) {
        stats->by_class[i] = (struct mal_box_class){.size_bytes = sizes[i],
                                                    .mallocs = 1000 * (i + 1),
                                                    .frees = 900 * (i + 1),
                                                    .spans = 2,
                                                    .span_bytes = 65536,
                                                    .free_objects = 7};
    }
}

void box_fixture_fill_stats(struct box_fixture *fixture) {
    struct mal_box_stats *stats = box_fixture_stats(fixture);
    uint64_t *value = stats->value;
    fill_classes(stats);
    value[MAL_STAT_MALLOCS] = 1592266;
    value[MAL_STAT_FREES] = 1509394;
    value[MAL_STAT_HEAP_OBJECTS] = 1592266 - 1509394;
    value[MAL_STAT_TOTAL_ALLOC] = 2045673208;
    value[MAL_STAT_TOTAL_FREE] = 2002660864;
    value[MAL_STAT_HEAP_ALLOC] = 2045673208 - 2002660864;
    value[MAL_STAT_HEAP_INUSE] = 44318720;
    value[MAL_STAT_HEAP_IDLE] = 72794112;
    value[MAL_STAT_HEAP_SYS] = 44318720 + 72794112;
    value[MAL_STAT_HEAP_RELEASED] = 66453504;
    value[MAL_STAT_CPU_CACHE] = 600000;
    value[MAL_STAT_TRANSFER_CACHE] = 300000;
    value[MAL_STAT_SPAN_FREE] = 400000;
    value[MAL_STAT_STACK_INUSE] = value[MAL_STAT_STACK_SYS] = 327680;
    value[MAL_STAT_SPAN_INUSE] = 397584;
    value[MAL_STAT_SPAN_SYS] = 667152;
    value[MAL_STAT_CACHE_INUSE] = 2400;
    value[MAL_STAT_CACHE_SYS] = 15600;
    value[MAL_STAT_BUCKET_SYS] = 1455684;
    value[MAL_STAT_GC_SYS] = 11616016;
    value[MAL_STAT_OTHER_SYS] = 516292;
    value[MAL_STAT_SYS] =
        44318720 + 72794112 + 327680 + 667152 + 15600 + 1455684 + 11616016 + 516292;
    value[MAL_STAT_GC_HEAP] = 31000000;
    value[MAL_STAT_GC_LIVE] = 27447144;
    value[MAL_STAT_NEXT_GC] = 54894288;
    value[MAL_STAT_NUM_GC] = 2;
    value[MAL_STAT_NUM_FORCED_GC] = 1;
    value[MAL_STAT_PAUSE_TOTAL] = 97481 + 220349;
    value[MAL_STAT_GC_CPU_PPB] = 27474219;
    value[MAL_STAT_GOGC] = 100;
    value[MAL_STAT_MEM_LIMIT] = INT64_MAX;
    value[MAL_STAT_RSS] = 79165824;
    value[MAL_STAT_MAX_RSS] = 89165824;
    stats->pause_ns[0] = 97481;
    stats->pause_ns[1] = 220349;
    stats->pause_end_unix_ns[0] = fixture->header->started_unix_ns + 1000000000u;
    stats->pause_end_unix_ns[1] = fixture->header->started_unix_ns + 2000000000u;
    value[MAL_STAT_LAST_GC] = stats->pause_end_unix_ns[1];
    stats->published_unix_ns = now_unix_ns();
    stats->published_mono_ns = fixture->header->started_mono_ns + 3723000000000u;
    stats->sequence = 2;
}

void box_fixture_add_history(struct box_fixture *fixture, const struct mal_box_history_row *row) {
    struct mal_box_history *history = box_fixture_section(fixture, MAL_BOX_HISTORY);
    history->row[history->written % MAL_BOX_HISTORY_ROWS] = *row;
    history->written++;
}

void box_fixture_add_trace(struct box_fixture *fixture, const char *text) {
    struct mal_box_trace *trace = box_fixture_section(fixture, MAL_BOX_TRACE);
    for (; *text; text++) {
        trace->text[trace->written % MAL_BOX_TRACE_BYTES] = *text;
        trace->written++;
    }
}

void box_fixture_add_span(struct box_fixture *fixture, const struct mal_box_span *span) {
    struct mal_box_spans *spans = box_fixture_section(fixture, MAL_BOX_SPANS);
    require(spans->count < MAL_BOX_SPANS_MAX, "too many spans");
    spans->span[spans->count++] = *span;
    spans->total++;
    spans->sequence = 2;
    spans->stride = 1;
    spans->base_address = 1ull << 40;
    spans->page_bytes = 8192;
    spans->taken_unix_ns = now_unix_ns();
}

struct box_fixture *box_fixture_typical(void) {
    struct box_fixture *fixture = box_fixture_new();
    box_fixture_add_own_modules(fixture);
    box_fixture_fill_stats(fixture);
    uint64_t here = (uint64_t)(uintptr_t)&box_fixture_typical;
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t pcs[] = {here + 16 + i, (uint64_t)(uintptr_t)&box_fixture_fill_stats + 9};
        uint32_t stack = box_fixture_add_stack(fixture, pcs, 2);
        box_fixture_add_bucket(fixture, stack, 64u << (2 * i), 524288, 10 + i, 5);
    }
    for (uint64_t i = 0; i < 10; i++) {
        struct mal_box_history_row row = {.unix_ns = now_unix_ns() - (10 - i) * 1000000000u,
                                          .rss_bytes = 70000000 + i * 100000,
                                          .heap_alloc_bytes = 40000000 + i * 50000};
        box_fixture_add_history(fixture, &row);
    }
    box_fixture_add_trace(fixture, "gc 1 @0.010s 0%: 0.01+0.1+0.01 ms clock\n");
    for (uint32_t i = 0; i < 4; i++)
        box_fixture_add_span(fixture, &(struct mal_box_span){.page = 10 * i,
                                                             .pages = 1 + i,
                                                             .stack = 3 * i,
                                                             .class = (uint16_t)i,
                                                             .live = (uint16_t)i,
                                                             .objects = 8});
    box_fixture_add_trace(fixture, "gc 2 @0.020s 0%: 0.01+0.1+0.01 ms clock\n");
    return fixture;
}

static int page_is_empty(const uint8_t *page) {
    return page[0] == 0 && memcmp(page, page + 1, MAL_BOX_PAGE_BYTES - 1) == 0;
}

void box_fixture_save(struct box_fixture *fixture, const char *folder,
                      char ret_path[BOX_FIXTURE_PATH_BYTES]) {
    int length = snprintf(ret_path, BOX_FIXTURE_PATH_BYTES, "%s/%u.%llu.mallard", folder,
                          fixture->header->pid, (unsigned long long)fixture->header->start_ticks);
    require(length > 0 && length < BOX_FIXTURE_PATH_BYTES, "the folder's name is too long");
    int fd = open(ret_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0 && ftruncate(fd, (off_t)MAL_BOX_BYTES) == 0, "cannot create the box file");
    for (uint64_t at = 0; at < MAL_BOX_BYTES; at += MAL_BOX_PAGE_BYTES) {
        if (page_is_empty(fixture->base + at))
            continue;
        ssize_t put = pwrite(fd, fixture->base + at, MAL_BOX_PAGE_BYTES, (off_t)at);
        require(put == (ssize_t)MAL_BOX_PAGE_BYTES, "cannot write the box file");
    }
    close(fd);
}

/* Waits on or wakes a futex that other processes may share. */
static void futex(uint32_t *word, int operation, uint32_t value) {
    struct timespec tick = {.tv_nsec = 10000000};
    syscall(SYS_futex, word, operation, value, operation == FUTEX_WAIT ? &tick : NULL, NULL, 0);
}

static void *serve(void *context) {
    struct box_server *server = context;
    struct mal_box_mailbox *mailbox = server->mailbox;
    uint32_t seen = __atomic_load_n(&mailbox->done, __ATOMIC_ACQUIRE);
    while (!__atomic_load_n(&server->stop, __ATOMIC_ACQUIRE)) {
        uint32_t request = __atomic_load_n(&mailbox->request, __ATOMIC_ACQUIRE);
        if (request == seen) {
            futex(&mailbox->request, FUTEX_WAIT, request);
            continue;
        }
        int32_t error = 0;
        uint32_t command = __atomic_load_n(&mailbox->command, __ATOMIC_RELAXED);
        int64_t argument = __atomic_load_n(&mailbox->argument, __ATOMIC_RELAXED);
        int64_t result = server->answer(command, argument, &error);
        __atomic_store_n(&mailbox->result, result, __ATOMIC_RELAXED);
        __atomic_store_n(&mailbox->error, error, __ATOMIC_RELAXED);
        __atomic_store_n(&mailbox->done, request, __ATOMIC_RELEASE);
        futex(&mailbox->done, FUTEX_WAKE, INT_MAX);
        seen = request;
    }
    return NULL;
}

static struct box_server *server_start(struct mal_box_mailbox *mailbox, void *mapping,
                                       box_answer *answer) {
    struct box_server *server = calloc(1, sizeof(*server));
    require(server != NULL, "out of memory");
    server->mailbox = mailbox;
    server->mapping = mapping;
    server->answer = answer;
    __atomic_store_n(&mailbox->served, 1, __ATOMIC_RELEASE);
    require(pthread_create(&server->thread, NULL, serve, server) == 0, "pthread_create");
    return server;
}

struct box_server *box_server_start(const char *path, box_answer *answer) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    require(fd >= 0, "cannot open the box file");
    uint8_t *base = mmap(NULL, MAL_BOX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    require(base != MAP_FAILED, "mmap of the box file");
    const struct mal_box_header *header = (const void *)base;
    void *mailbox = base + header->section[MAL_BOX_MAILBOX].offset;
    return server_start(mailbox, base, answer);
}

struct box_server *box_server_start_memory(struct box_fixture *fixture, box_answer *answer) {
    return server_start(box_fixture_mailbox(fixture), NULL, answer);
}

void box_server_stop(struct box_server *server) {
    __atomic_store_n(&server->stop, 1, __ATOMIC_RELEASE);
    pthread_join(server->thread, NULL);
    if (server->mapping)
        munmap(server->mapping, MAL_BOX_BYTES);
    free(server);
}
