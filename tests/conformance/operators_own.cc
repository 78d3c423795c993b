/* SPDX-License-Identifier: Apache-2.0
 *
 * A program with an operator new and delete of its own, and no others: those that it has not are
 * to come down to them, as libstdc++'s do.
 *
 *     LD_PRELOAD=libmallard.so.0 operators_own
 *
 * Also runs without the library.
 */
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

/* That it has no others is what this is about. */
#pragma GCC diagnostic ignored "-Wsized-deallocation"

namespace {

constexpr size_t header_bytes = 16;
alignas(16) char arena[1 << 20];
size_t arena_used_bytes;
bool from_arena;
int live, failed, passed;

void check(bool holds, const char *what) {
    (holds ? passed : failed)++;
    std::printf(holds ? "ok   %s\n" : "FAIL %s\n", what);
}

void *take(size_t bytes) {
    if (!from_arena)
        return std::malloc(bytes);
    char *taken = arena + arena_used_bytes;
    arena_used_bytes += (bytes + 15) & ~size_t{15};
    return taken;
}

} // namespace

/* Each object has a header, which says where it is from. */
void *operator new(size_t bytes) {
    char *whole = static_cast<char *>(take(bytes + header_bytes));
    whole[0] = from_arena;
    live++;
    return whole + header_bytes;
}

void operator delete(void *object) noexcept {
    if (!object)
        return;
    char *whole = static_cast<char *>(object) - header_bytes;
    live--;
    if (!whole[0])
        std::free(whole);
}

namespace {

/* What a compiler makes of `new` and `delete`. */
void *make_plain(size_t bytes) {
    return ::operator new(bytes);
}

void *make_nothrow(size_t bytes) {
    return ::operator new(bytes, std::nothrow);
}

void end_plain(void *object) {
    ::operator delete(object);
}

void end_sized(void *object) {
    ::operator delete(object, size_t{100});
}

void end_nothrow(void *object) {
    ::operator delete(object, std::nothrow);
}

struct {
    const char *name;
    void *(*make)(size_t bytes);
    void (*end)(void *object);
} const ways[] = {
    {"new, delete", make_plain, end_plain},
    {"new, delete sized", make_plain, end_sized},
    {"new, delete nothrow", make_plain, end_nothrow},
    {"new nothrow, delete", make_nothrow, end_plain},
    {"new nothrow, delete sized", make_nothrow, end_sized},
};

const size_t sizes[] = {1, 100, 5000, 100000, 400000};

/* Whether it ends with as many objects as it began with, and had one more in between. */
template <typename way_type> bool comes_down_to_ours(const way_type &way) {
    bool good = true;
    for (size_t bytes : sizes) {
        if (from_arena && bytes > 10000)
            continue;
        void *object = way.make(bytes);
        good &= live == 1;
        std::memset(object, 1, bytes);
        way.end(object);
        good &= live == 0;
    }
    return good;
}

} // namespace

int main() {
    for (int round = 0; round < 2; round++) {
        from_arena = round == 1;
        for (const auto &way : ways)
            check(comes_down_to_ours(way), way.name);
    }
    int *array = new int[1000];
    check(live == 0 || live == 1, "new[]"); /* libstdc++'s asks ours, Mallard's need not */
    delete[] array;
    check(live == 0, "delete[]");
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
