/* SPDX-License-Identifier: Apache-2.0
 *
 * operator new and delete in all their shapes, as C++ has them.
 *
 *     LD_PRELOAD=libmallard.so.0 operators
 *
 * Also runs without the library, but for what is counted.
 */
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <malloc.h>
#include <new>
#include <sys/resource.h>
#include <unistd.h>

#include "mallard/mallard.h"

namespace {

constexpr size_t never = size_t{1} << 60; /* more than any machine has */
constexpr auto page = std::align_val_t{4096};
int passed, failed;

void check(bool holds, const char *what) {
    (holds ? passed : failed)++;
    std::printf(holds ? "ok   %s\n" : "FAIL %s\n", what);
}

/* The shapes, with sizes and alignments that their callers know of. */
using maker = void *(*)(size_t bytes);
using ender = void (*)(void *object, size_t bytes);

struct new_shape {
    const char *name;
    bool is_aligned, throws;
    maker make;
};
struct delete_shape {
    const char *name;
    bool is_aligned;
    ender end;
};

const new_shape makers[] = {
    {"new", false, true, [](size_t n) { return ::operator new(n); }},
    {"new[]", false, true, [](size_t n) { return ::operator new[](n); }},
    {"new nothrow", false, false, [](size_t n) { return ::operator new(n, std::nothrow); }},
    {"new[] nothrow", false, false, [](size_t n) { return ::operator new[](n, std::nothrow); }},
    {"new aligned", true, true, [](size_t n) { return ::operator new(n, page); }},
    {"new[] aligned", true, true, [](size_t n) { return ::operator new[](n, page); }},
    {"new aligned nothrow", true, false,
     [](size_t n) { return ::operator new(n, page, std::nothrow); }},
    {"new[] aligned nothrow", true, false,
     [](size_t n) { return ::operator new[](n, page, std::nothrow); }},
};

const delete_shape enders[] = {
    {"delete", false, [](void *p, size_t) { ::operator delete(p); }},
    {"delete[]", false, [](void *p, size_t) { ::operator delete[](p); }},
    {"delete sized", false, [](void *p, size_t n) { ::operator delete(p, n); }},
    {"delete[] sized", false, [](void *p, size_t n) { ::operator delete[](p, n); }},
    {"delete nothrow", false, [](void *p, size_t) { ::operator delete(p, std::nothrow); }},
    {"delete[] nothrow", false, [](void *p, size_t) { ::operator delete[](p, std::nothrow); }},
    {"delete aligned", true, [](void *p, size_t) { ::operator delete(p, page); }},
    {"delete[] aligned", true, [](void *p, size_t) { ::operator delete[](p, page); }},
    {"delete sized aligned", true, [](void *p, size_t n) { ::operator delete(p, n, page); }},
    {"delete[] sized aligned", true, [](void *p, size_t n) { ::operator delete[](p, n, page); }},
    {"delete aligned nothrow", true,
     [](void *p, size_t) { ::operator delete(p, page, std::nothrow); }},
    {"delete[] aligned nothrow", true,
     [](void *p, size_t) { ::operator delete[](p, page, std::nothrow); }},
};

const size_t sizes[] = {0, 1, 24, 1000, 4096, 40000, 300000, 3000000};

/* ---- objects ---- */

bool makes(const new_shape &shape) {
    bool good = true;
    for (size_t bytes : sizes) {
        void *object = shape.make(bytes);
        size_t alignment = shape.is_aligned ? 4096 : 16;
        good &= object && reinterpret_cast<uintptr_t>(object) % alignment == 0;
        good &= malloc_usable_size(object) >= bytes;
        std::memset(object, 1, bytes);
        shape.is_aligned ? ::operator delete(object, page) : ::operator delete(object);
    }
    return good;
}

/* Alignments between those that all objects have and a page's. */
bool is_aligned_to(size_t alignment) {
    void *one = ::operator new(8, std::align_val_t{alignment});
    void *other = ::operator new(8, std::align_val_t{alignment});
    bool good = (reinterpret_cast<uintptr_t>(one) | reinterpret_cast<uintptr_t>(other)) % alignment == 0;
    ::operator delete(one, std::align_val_t{alignment});
    ::operator delete(other, std::align_val_t{alignment});
    return good;
}

int (*read_memstats)(struct mallard_memstats *stats);

uint64_t frees_now() {
    struct mallard_memstats stats = {};
    stats.size = sizeof stats;
    return read_memstats && read_memstats(&stats) == 0 ? stats.frees : 0;
}

/* Others may free a few meanwhile. */
bool ends(const delete_shape &shape) {
    constexpr uint64_t rounds = 1000;
    uint64_t before = frees_now();
    shape.end(nullptr, 0);
    for (uint64_t i = 0; i < rounds; i++) {
        size_t bytes = sizes[i % (sizeof sizes / sizeof *sizes)];
        shape.end(shape.is_aligned ? ::operator new(bytes, page) : ::operator new(bytes), bytes);
    }
    return !read_memstats || frees_now() - before >= rounds;
}

/* ---- no memory ---- */

int handler_calls;

void give_up_at_third() {
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

void throw_at_second() {
    if (++handler_calls == 2)
        throw std::bad_alloc();
}

/* What comes of a request that nobody can serve: 'n' for NULL, 't' for bad_alloc. */
char outcome(const new_shape &shape, std::new_handler handler) {
    char how = '?';
    handler_calls = 0;
    std::set_new_handler(handler);
    try {
        how = shape.make(never) ? 'o' : 'n';
    } catch (const std::bad_alloc &) {
        how = 't';
    }
    std::set_new_handler(nullptr);
    return how;
}

/* ---- memory that a handler finds ---- */

constexpr size_t mib = size_t{1} << 20;
void *hoard;

void give_up_the_hoard() {
    handler_calls++;
    if (!hoard)
        std::set_new_handler(nullptr);
    std::free(hoard);
    hoard = nullptr;
}

size_t mapped_bytes() {
    unsigned long pages = 0;
    FILE *file = std::fopen("/proc/self/statm", "r");
    int fields = file ? std::fscanf(file, "%lu", &pages) : 0;
    if (file)
        std::fclose(file);
    return fields == 1 ? pages * static_cast<size_t>(sysconf(_SC_PAGESIZE)) : 0;
}

/* The request is served after all, and as it was asked for. What lies before the hoard keeps that
 * from being aligned by chance. */
bool is_served_from_the_hoard(bool nothrow) {
    constexpr auto alignment = std::align_val_t{mib};
    struct rlimit before, low;
    void *pad = std::malloc(400000);
    hoard = std::malloc(96 * mib);
    getrlimit(RLIMIT_AS, &before);
    low = before;
    low.rlim_cur = mapped_bytes();
    handler_calls = 0;
    std::set_new_handler(give_up_the_hoard);
    setrlimit(RLIMIT_AS, &low);
    void *object = nothrow ? ::operator new(32 * mib, alignment, std::nothrow)
                           : ::operator new(32 * mib, alignment);
    setrlimit(RLIMIT_AS, &before);
    std::set_new_handler(nullptr);
    bool good = object && reinterpret_cast<uintptr_t>(object) % mib == 0 && handler_calls == 1;
    ::operator delete(object, alignment);
    std::free(pad);
    return good;
}

void check_no_memory(const new_shape &shape) {
    char wanted = shape.throws ? 't' : 'n';
    char what[80];
    std::snprintf(what, sizeof what, "%s without memory", shape.name);
    check(outcome(shape, nullptr) == wanted, what);
    std::snprintf(what, sizeof what, "%s calls the handler until there is none", shape.name);
    check(outcome(shape, give_up_at_third) == wanted && handler_calls == 3, what);
    std::snprintf(what, sizeof what, "%s where the handler throws", shape.name);
    check(outcome(shape, throw_at_second) == wanted && handler_calls == 2, what);
}

} // namespace

int main() {
    *reinterpret_cast<void **>(&read_memstats) = dlsym(RTLD_DEFAULT, "mallard_read_memstats");
    for (const new_shape &shape : makers)
        check(makes(shape), shape.name);
    for (size_t alignment = 32; alignment <= 65536; alignment *= 2)
        check(is_aligned_to(alignment), "an alignment is kept");
    for (const delete_shape &shape : enders)
        check(ends(shape), shape.name);
    for (const new_shape &shape : makers)
        check_no_memory(shape);
    check(is_served_from_the_hoard(false), "new is served by what the handler frees");
    check(is_served_from_the_hoard(true), "new nothrow is served by what the handler frees");
    for (const new_shape &shape : makers)
        check(makes(shape), shape.name);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
