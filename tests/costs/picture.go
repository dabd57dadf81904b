package costs

import (
	"fmt"
	"math"
	"strings"
)

// The picture is of an office's month over its people, both by powers of ten.
const (
	width, height            = 720, 400
	left, right, top, bottom = 60, 20, 40, 50
	leastDollars, mostDollar = 0.1, 10_000.0
)

// picture is costs.svg. Its colours are read on white and on black.
func (f *figures) picture() string {
	x := func(people float64) float64 {
		return left + (width-left-right)*math.Log10(people)/math.Log10(most)
	}
	y := func(dollars float64) float64 {
		t := math.Log10(max(dollars, leastDollars)/leastDollars) / math.Log10(mostDollar/leastDollars)
		return height - bottom - (height-top-bottom)*t
	}
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" fill="#808080">`, width, height)
	p(`<title>What an office costs a month, by its people</title>`)
	p(`<text x="%d" y="20" font-size="15">Dollars a month for an office, after the free tier</text>`, left)
	for d := leastDollars; d <= mostDollar*1.01; d *= 10 {
		p(`<path d="M%d %.1fH%d" stroke="#808080" stroke-opacity=".25"/>`, left, y(d), width-right)
		p(`<text x="%d" y="%.1f" text-anchor="end">$%s</text>`, left-6, y(d)+4, strings.TrimSuffix(fmt.Sprintf("%.1f", d), ".0"))
	}
	for _, n := range []float64{1, 5, 10, 50, 100, 500} {
		p(`<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`, x(n), height-bottom+20, n)
	}
	p(`<text x="%d" y="%d" text-anchor="middle">people</text>`, (width+left-right)/2, height-10)
	for _, d := range vps {
		p(`<path d="M%d %.1fH%d" stroke="#808080" stroke-dasharray="2 4"/>`, left, y(d), width-right)
		p(`<text x="%d" y="%.1f">a VPS of $%.0f</text>`, left+6, y(d)-5, d)
	}
	for _, l := range []struct {
		queue          bool
		colour, dashes string
	}{
		{false, "#d9534f", ` stroke-dasharray="8 4"`},
		{true, "#2f81c9", ""},
	} {
		var path strings.Builder
		for n := 1.0; n <= most; n = math.Max(n+1, math.Floor(n*1.15)) {
			fmt.Fprintf(&path, "%.1f %.1f ", x(n), y(sum(f.office(int(n), l.queue)).afterFree()))
		}
		fmt.Fprintf(&path, "%.1f %.1f", x(most), y(sum(f.office(most, l.queue)).afterFree()))
		p(`<path d="M%s" fill="none" stroke="%s" stroke-width="2.5"%s/>`, path.String(), l.colour, l.dashes)
		for _, n := range officeSizes {
			d := sum(f.office(n, l.queue)).afterFree()
			dy, anchor := -10.0, "end"
			if l.queue {
				dy, anchor = 18, "start"
			}
			p(`<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`, x(float64(n)), y(d), l.colour)
			if n == most {
				anchor = "end"
				dy = math.Copysign(math.Abs(dy)*1.8, dy)
			}
			p(`<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`, x(float64(n)), y(d)+dy, anchor, l.colour, money(d))
		}
	}
	p(`<text x="%d" y="%d" fill="#d9534f">- - clients wait in functions, sync=lambda</text>`, left+20, top+18)
	p(`<text x="%d" y="%d" fill="#2f81c9">— clients wait in queues</text>`, left+20, top+36)
	p(`</svg>`)
	return b.String()
}
