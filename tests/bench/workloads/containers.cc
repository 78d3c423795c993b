// SPDX-License-Identifier: Apache-2.0
//
// C++ containers: ordered and hashed maps of vectors and shared pointers, built, changed, copied.
//
// Nodes of 40 to 100 bytes, vectors that double, tables that rehash, copies of whole maps.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

enum { ROUNDS = 50, ITEMS = 60000, KEYS = 9000 };

struct item {
    uint64_t number;
    std::shared_ptr<std::string> name;
};

uint64_t next(uint64_t &seed) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed >> 33;
}

uint64_t total(const std::map<uint64_t, std::vector<item>> &index) {
    uint64_t sum = 0;
    for (const auto &[key, items] : index)
        for (const auto &one : items)
            sum += key ^ (one.number + one.name->size());
    return sum;
}

uint64_t round(uint64_t &seed) {
    std::map<uint64_t, std::vector<item>> index;
    std::unordered_map<uint64_t, std::list<uint64_t>> recent;
    for (uint64_t i = 0; i < ITEMS; i++) {
        uint64_t key = next(seed) % KEYS;
        index[key].push_back({i, std::make_shared<std::string>(16 + next(seed) % 60, 'n')});
        auto &list = recent[key * 7];
        list.push_back(i);
        if (list.size() > 4)
            list.pop_front();
        if (i % 16 == 0)
            index.erase(next(seed) % KEYS);
    }
    auto copy = index;
    uint64_t sum = total(copy) + recent.size();
    for (const auto &[key, list] : recent)
        sum += key * list.size() + list.back();
    return sum;
}

}  // namespace

int main(int argc, char **argv) {
    uint64_t seed = 7, sum = 0;
    int rounds = std::max(1, static_cast<int>(ROUNDS * (argc > 1 ? std::atof(argv[1]) : 1)));
    for (int i = 0; i < rounds; i++)
        sum += round(seed);
    std::printf("%llu\n", static_cast<unsigned long long>(sum));
}
