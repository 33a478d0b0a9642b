package forecastbench

import "slices"

// Fold is one part of leave-one-source-out: what is learned from the other sources is judged on the one left out.
type Fold struct {
	Source string
	Train  []Case // of the other sources
	Test   []Case // of Source
}

// LeaveOneSourceOut makes a fold of each source, that is, of each data set, in order of name. Merge what each fold forecasts and
// score it as one.
func LeaveOneSourceOut(cases []Case) []Fold {
	var names []string
	for _, c := range cases {
		if !slices.Contains(names, c.Source()) {
			names = append(names, c.Source())
		}
	}
	slices.Sort(names)
	folds := make([]Fold, len(names))
	for i, name := range names {
		folds[i].Source = name
		for _, c := range cases {
			if c.Source() == name {
				folds[i].Test = append(folds[i].Test, c)
			} else {
				folds[i].Train = append(folds[i].Train, c)
			}
		}
	}
	return folds
}
