#include "tweedie/jobs/page.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tweedie/base/files.h"
#include "tweedie/base/format.h"
#include "tweedie/jobs/describe_data.h"
#include "tweedie/jobs/film.h"
#include "tweedie/jobs/plot.h"
#include "tweedie/jobs/run_folder.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStyle = R"css(
:root { color-scheme: light; }
body { font: 17px/1.55 system-ui, sans-serif; color: #222226; background: #fafafa; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.2rem 5rem; }
h1 { font-size: 1.9rem; margin: 0 0 .3rem; } h2 { margin-top: 3rem; font-size: 1.35rem; }
figure { margin: 1rem 0; background: #fff; border: 1px solid #e2e2e4; border-radius: 8px; padding: .8rem; overflow-x: auto; }
figure img, figure svg { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption { color: #5c5c63; font-size: .92rem; margin-top: .5rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
.number { font-size: 2.3rem; font-weight: 700; color: #0072b2; }
table { border-collapse: collapse; } td, th { padding: .25rem 1rem .25rem 0; text-align: left; }
td:nth-child(n+2), th:nth-child(n+2) { text-align: right; font-variant-numeric: tabular-nums; }
code, pre { background: #eeeef1; border-radius: 4px; padding: .1rem .3rem; font-size: .9em; } pre { padding: .8rem; overflow-x: auto; }
details { margin: 1rem 0; }
)css";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string base64(const std::string& bytes) {
  static constexpr char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    for (size_t j = 0; j < 3; ++j)
      group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) out += j <= count ? digits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

std::string figure(const std::string& content, const std::string& caption) {
  return "<figure>" + content + "<figcaption>" + caption + "</figcaption></figure>\n";
}

/// A PNG or GIF as a part of the page.
std::string embedded(const std::string& path, const std::string& alt) {
  const std::string bytes = read_file(path, size_t{64} << 20);
  const bool gif = bytes.rfind("GIF8", 0) == 0;
  check(gif || bytes.rfind("\x89PNG", 0) == 0, path, ": expected a PNG or a GIF");
  return std::string("<img alt=\"") + escaped(alt) + "\" src=\"data:image/" +
         (gif ? "gif" : "png") + ";base64," + base64(bytes) + "\">";
}

/// An SVG without its XML declaration, so that it can stand inside HTML.  Cairo numbers its glyphs
/// from 0 in every document; `prefix` keeps those of one page apart.
std::string inlined(const Picture& picture, const std::string& prefix) {
  std::string svg = picture.svg();
  svg.erase(0, svg.find("<svg"));
  for (const std::string mark : {"id=\"", "href=\"#", "url(#"})
    for (size_t at = 0; (at = svg.find(mark, at)) != std::string::npos;
         at += mark.size() + prefix.size())
      svg.insert(at + mark.size(), prefix);
  return svg;
}

Json read_object(const std::string& path) {
  const Json value = parse_json(read_file(path, size_t{64} << 20));
  check(value.is_object(), path, ": expected one JSON object, as `--json` writes it");
  return value;
}

/// The lines of metrics.jsonl that hold `key`.
Series metric(const std::vector<Json>& lines, const std::string& key, const std::string& name) {
  Series series{.name = name, .x = {}, .y = {}};
  for (const Json& line : lines) {
    if (!line.contains(key) || !line[key].is_number()) continue;
    series.x.push_back(line.value("step", 0.0));
    series.y.push_back(line[key].get<double>());
  }
  return series;
}

/// Mean over the last twentieth of the curve so far, so that a noisy loss shows its course.
Series smoothed(const Series& series) {
  Series out{.name = "smoothed", .x = series.x, .y = {}};
  const size_t window = std::max<size_t>(5, series.y.size() / 20);
  double sum = 0;
  for (size_t i = 0; i < series.y.size(); ++i) {
    sum += series.y[i] - (i >= window ? series.y[i - window] : 0);
    out.y.push_back(sum / static_cast<double>(std::min(i + 1, window)));
  }
  return out;
}

std::vector<Json> metrics_of(const std::string& run) {
  std::vector<Json> lines;
  std::ifstream file(fs::path(run) / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    Json record = parse_json(line);
    if (record.is_object()) lines.push_back(std::move(record));
  }
  check(!lines.empty(), run,
        ": has no metrics.jsonl with lines in it; expected a run of `tweedie train`");
  return lines;
}

std::string training_part(const std::vector<Json>& lines) {
  const Series loss = metric(lines, "loss", "loss");
  std::ostringstream out;
  out << "<h2>Training</h2>\n<p>The loss says how badly the network tells noise from image. It "
         "falls fast at first "
         "and then slowly for as long as one trains.</p>\n";
  Picture picture(860, 330);
  picture.line_chart({"Training loss", "step", "loss", false, true, {loss, smoothed(loss)}},
                     {0, 0, 860, 330});
  out << figure(inlined(picture, "loss-"), "Loss at each logged step, and smoothed.");
  const Series held_out = metric(lines, "held_out_bits_per_dim", "");
  if (held_out.x.size() >= 2) {
    Picture chart(860, 280);
    chart.line_chart(
        {"Held-out likelihood on the way", "step", "bits per dimension", false, false, {held_out}},
        {0, 0, 860, 280});
    out << figure(inlined(chart, "held-"),
                  "The bound on images that are not trained on: lower is better.");
  }
  const Json& last = lines.back();
  const Series rate = metric(lines, "images_per_second", "");
  out << "<p>" << last.value("step", int64_t{0}) << " steps";
  if (last.contains("seconds") && last["seconds"].is_number())
    out << " in " << format("%.1f", last["seconds"].get<double>() / 60) << " minutes";
  if (!rate.y.empty())
    out << ", " << format("%.0f", rate.y.back()) << " images a second at the end";
  out << ".</p>\n";
  return out.str();
}

/// Writes real.png beside the page: as many held-out examples as there are samples in the grid.
std::string real_images(const Registry& registry, const PageRequest& request,
                        const std::string& spec) {
  const Dataset data = open_dataset(registry, spec, "test");
  const std::string path = (fs::path(request.out).parent_path() / "real.png").string();
  write_png(path, examples_picture(data));
  return path;
}

std::string samples_part(const Registry& registry, const PageRequest& request,
                         const std::string& spec) {
  std::ostringstream out;
  out << "<h2>What it generates</h2>\n<p>Left: made by the model from nothing but random numbers, "
         "not picked. "
         "Right: real images that it never saw.</p>\n<div class=\"pair\">\n"
      << figure(embedded(request.samples, "samples"), "Generated.")
      << figure(embedded(real_images(registry, request, spec), "real images"),
                "Real, from the test split.")
      << "</div>\n";
  return out.str();
}

std::string films_part(const PageRequest& request) {
  std::ostringstream out;
  if (!request.forward.empty()) {
    out << "<h2>Forward: how an image is destroyed</h2>\n<p>Step by step a little of the image is "
           "replaced by noise "
           "until nothing but noise is left. <code>alpha_bar</code> is the share of the variance "
           "that is still "
           "image; <code>L_T</code> says how much of the image is left at the very end (it should "
           "be near 0). This "
           "half needs no learning.</p>\n";
    for (const std::string& path : request.forward)
      out << figure(embedded(path, "forward process"), "The forward process.");
  }
  if (!request.reverse.empty()) {
    out << "<h2>Reverse: how the model undoes it</h2>\n<p>Sampling begins with noise and asks the "
           "network again and "
           "again what the clean image behind it is, moving a little towards its answer each time. "
           "Early answers "
           "are blurred averages; details appear late.</p>\n";
    for (const std::string& path : request.reverse)
      out << figure(embedded(path, "reverse process"), "The reverse process.");
  }
  return out.str();
}

/// The rows of what `tweedie baselines --json` wrote.
Json baseline_rows(const Json& baselines, const std::string& path) {
  const Json rows = baselines.value("baselines", Json());
  bool whole = rows.is_array() && baselines.value("images", Json()).is_number_integer();
  for (const Json& row : rows)
    whole = whole && row.is_object() && row.value("name", Json()).is_string() &&
            row.value("meaning", Json()).is_string() &&
            row.value("bits_per_dim", Json()).is_number();
  check(whole, path, ": expected what `tweedie baselines --json` writes");
  return rows;
}

/// What `tweedie evaluate --json` wrote of a whole evaluation.
Json read_evaluation(const std::string& path) {
  const Json evaluation = read_object(path);
  bool whole = evaluation.value("value", Json()).is_number() &&
               evaluation.value("images", Json()).is_number_integer();
  for (const char* key : {"method", "kind", "meaning", "split"})
    whole = whole && evaluation.value(key, Json()).is_string();
  check(whole, path, ": expected what `tweedie evaluate --json` writes");
  check(!evaluation.contains("merge"), path,
        ": is a part of an evaluation; put the parts together with tweedie evaluate --merge");
  return evaluation;
}

std::string likelihood_part(const Json& evaluation, const Json& baselines, const Json& rows) {
  std::ostringstream out;
  const bool bits = evaluation.contains("bits_per_dim");
  const char* unit = bits ? "bits_per_dim" : "nats_per_dim";
  const auto number = [](const Json& from, const std::string& key) {
    return from.contains(key) && from[key].is_number() ? from[key].get<double>() : 0.0;
  };
  const double value = number(evaluation, unit),
               error = number(evaluation, std::string(unit) + "_standard_error");
  const int64_t images = evaluation.at("images");
  const auto text = [&](const char* key) { return escaped(evaluation.at(key).get<std::string>()); };
  out << "<h2>How probable is what it "
      << (evaluation.at("split") == "train" ? "was trained on" : "never saw")
      << "?</h2>\n<p><span class=\"number\">" << format("%.3f", value)
      << (error > 0 ? " \u00b1 " + format("%.3f", error) : "") << "</span> "
      << (bits ? "bits per dimension" : "nats per dimension")
      << "</p>\n<p>A model of data is also a way to store it: it needs fewer bits for what it "
         "finds probable. The number is "
      << text("meaning") << " (method " << text("method") << ")"
      << (evaluation.at("kind") == "bound" ? ", so the model is at least this good" : "")
      << ". It was measured on " << images
      << (images == 1 ? " example of the " : " examples of the ") << text("split") << " split"
      << (error > 0 ? "; \u00b1 is one standard error over them" : "") << "."
      << (evaluation.value("levels", Json()) == 256 ? " A pixel stored as it is takes 8 bits." : "")
      << "</p>\n";
  if (bits && !rows.empty()) {
    bool same = true;
    for (const char* key : {"data", "split", "images"})
      same = same && baselines.value(key, Json()) == evaluation.value(key, Json());
    BarChart chart{"Bits per dimension: shorter is better", "bits per dimension", {}};
    for (const Json& baseline : rows)
      chart.bars.push_back({baseline.value("name", ""), number(baseline, "bits_per_dim"),
                            number(baseline, "bits_per_dim_standard_error")});
    chart.bars.push_back({"this model", value, error, true});
    std::stable_sort(chart.bars.begin(), chart.bars.end(),
                     [](const Bar& a, const Bar& b) { return a.value > b.value; });
    Picture picture(860, 90 + 38 * static_cast<double>(chart.bars.size()));
    picture.bar_chart(chart, {0, 0, 860, 80 + 38 * static_cast<double>(chart.bars.size())});
    std::string caption = std::string("Measured on ") + (same ? "the same " : "") +
                          std::to_string(baselines.at("images").get<int64_t>()) + " images.";
    for (const Json& baseline : rows)
      caption += " <b>" + escaped(baseline.value("name", "")) +
                 "</b>: " + escaped(baseline.value("meaning", "")) + ".";
    out << figure(inlined(picture, "bars-"), caption);
  }
  if (evaluation.contains("terms")) {
    out << "<table><tr><th>term of the bound</th><th>" << (bits ? "bits" : "nats")
        << " per dimension</th></tr>\n";
    const std::pair<const char*, const char*> rows[] = {
        {"prior", "L_T: what the last step still knows of the image"},
        {"diffusion", "the steps of the reverse process together"},
        {"decoder", "from the last noisy step to the exact pixels"},
        {"class", "which class it is, which the model is told"}};
    for (const auto& [key, words] : rows)
      if (evaluation["terms"].contains(key))
        out << "<tr><td>" << words << "</td><td>"
            << format("%.4f", number(evaluation["terms"][key], unit)) << "</td></tr>\n";
    out << "</table>\n";
  }
  return out.str();
}

std::string next_part(const PageRequest& request, const Json& config) {
  const std::string run = escaped(request.run);
  return "<h2>How to go on</h2>\n<pre>tweedie sample " + run +
         " --out more.png -n 100 --seed 1      other samples\ntweedie train --out " + run +
         " --resume --budget 30m   train the same model for longer\ntweedie describe " + run +
         "                          what is in it\ntweedie list recipes                            "
         "   other ways to "
         "train</pre>\n<details><summary>Everything this run was made of</summary><pre>" +
         escaped(config.dump(2)) + "</pre></details>\n";
}

}  // namespace

void write_page(const Registry& registry, const PageRequest& request) {
  check(fs::path(request.out).extension() == ".html", request.out,
        ": the page's name must end in .html");
  const Json config = read_config(request.run);
  const std::string spec = config.value("data", Json::object()).value("spec", "");
  std::ostringstream page;
  page
      << "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
         "content=\"width=device-width\"><title>tweedie: a diffusion model of "
      << escaped(spec) << "</title><style>" << kStyle
      << "</style></head><body><main>\n<h1>A diffusion model of " << escaped(spec)
      << "</h1>\n<p>Trained on this machine by <code>tweedie</code>: what it makes, how it makes "
         "it, "
      << "and how probable it finds what it has not seen.</p>\n";
  if (!request.samples.empty()) page << samples_part(registry, request, spec);
  if (!request.evaluation.empty()) {
    const Json baselines = request.baselines.empty() ? Json() : read_object(request.baselines);
    page << likelihood_part(
        read_evaluation(request.evaluation), baselines,
        baselines.is_null() ? Json() : baseline_rows(baselines, request.baselines));
  }
  page << training_part(metrics_of(request.run)) << films_part(request)
       << next_part(request, config) << "</main></body></html>\n";
  write_file_atomically(request.out, page.str());
}

}  // namespace tweedie
