// SPDX-License-Identifier: Apache-2.0
//
// C++ strings: concatenation, splitting, sorting, joining; temporaries everywhere.
//
// Most are longer than what std::string keeps inside itself, so each copy is operator new.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

enum { ROUNDS = 180, WORDS = 20000 };

std::string word(uint64_t &seed) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return "key-" + std::to_string(seed >> 40) + std::string(seed >> 58, 'x') + "/" + std::to_string(seed >> 50);
}

std::vector<std::string> split(const std::string &text, char by) {
    std::vector<std::string> parts;
    for (size_t start = 0, end; start < text.size(); start = end + 1) {
        end = std::min(text.find(by, start), text.size());
        parts.push_back(text.substr(start, end - start));
    }
    return parts;
}

uint64_t round(uint64_t &seed) {
    std::string text;
    for (int i = 0; i < WORDS; i++)
        text = std::move(text) + word(seed) + ",";
    std::vector<std::string> parts = split(text, ',');
    std::sort(parts.begin(), parts.end());
    std::vector<std::string> decorated;
    for (const auto &part : parts)
        decorated.push_back("<" + part + ":" + std::to_string(part.size()) + ">");
    uint64_t sum = 0;
    for (const auto &part : decorated)
        sum = sum * 31 + part.size() + static_cast<unsigned char>(part[part.size() / 2]);
    return sum;
}

}  // namespace

int main(int argc, char **argv) {
    uint64_t seed = 1, sum = 0;
    int rounds = std::max(1, static_cast<int>(ROUNDS * (argc > 1 ? std::atof(argv[1]) : 1)));
    for (int i = 0; i < rounds; i++)
        sum += round(seed);
    std::printf("%llu\n", static_cast<unsigned long long>(sum));
}
