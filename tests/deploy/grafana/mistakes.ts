// That the check bites: tsc fails here if it accepts what follows an @ts-expect-error.

import type { OurDashboard } from './schema';

// @ts-expect-error No such key.
export const misspelt: OurDashboard = { schemaVersion: 41, panels: [], refesh: '30s' };

// @ts-expect-error A string instead of a number.
export const version: OurDashboard = { schemaVersion: '41', panels: [] };

export const noPanel: OurDashboard = {
  schemaVersion: 41,
  // @ts-expect-error No such kind of panel.
  panels: [{ type: 'stats', title: 'States' }],
};

export const noLegend: OurDashboard = {
  schemaVersion: 41,
  panels: [
    {
      type: 'timeseries',
      targets: [],
      fieldConfig: { defaults: { custom: { drawStyle: 'line' } }, overrides: [] },
      options: {
        // @ts-expect-error No such place for a legend.
        legend: { displayMode: 'list', placement: 'left', showLegend: true, calcs: [] },
        tooltip: { mode: 'multi', sort: 'desc' },
      },
    },
  ],
};